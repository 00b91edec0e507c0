"""`wayword-sim bench stabiliser`: contenders side by side on sequences with ground truth, and on clips without.

    make bench-stabiliser                                  every sequence, every contender
    make bench-stabiliser ARGS="--late also --json F --html F"
    wayword-sim bench stabiliser --quick                   one seed, short, nothing slow
    wayword-sim bench stabiliser --sequences turn,exit --seeds tuning --contenders ours-gyro,lk
    wayword-sim bench stabiliser --process                 in a process of its own beside a busy one; a restart
    wayword-sim bench stabiliser --clip FILE --quad X,Y,…  see `clips`

Nothing is imported here: the child process of `contrib_worker` goes through this module with another OpenCV.
"""
