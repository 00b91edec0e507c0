"""Generate `shared/messages/wayword/v1/` from `proto/`, or check that it is up to date.

Usage: python proto/generate.py [--check]
"""

from __future__ import annotations

import argparse
import filecmp
import re
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ("types", "link", "cloud", "packs", "telemetry", "experiments", "places")
TARGET = ROOT / "shared" / "messages" / "wayword"


def generate(out: Path) -> None:
    """Write the Python messages, gRPC stubs and type stubs under `out/wayword/v1/`."""
    include = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{ROOT / 'proto'}",
        f"-I{include}",
        # Beside this interpreter, whether or not its folder is on the PATH.
        *(
            f"--plugin={name}={Path(sys.executable).parent / name}"
            for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ),
        f"--python_out={out}",
        f"--mypy_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out={out}",
        *(f"wayword/v1/{name}.proto" for name in PROTOS),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; is mypy-protobuf installed? (pip install -e .[dev])")
    for path in sorted(out.rglob("*.py*")):
        # protoc writes absolute imports of the proto path; the code lives inside shared.messages.
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\bfrom wayword\.v1 import", "from shared.messages.wayword.v1 import", text)
        text = re.sub(r"\bimport wayword\.v1\.(\w+)", r"import shared.messages.wayword.v1.\1", text)
        text = re.sub(r"(?<![\w./\"'])wayword\.v1\.(\w+_pb2)\b", r"shared.messages.wayword.v1.\1", text)
        path.write_text(text, encoding="utf-8")
    for name in ("types", "link"):  # messages only: their gRPC files are empty
        for path in (out / "wayword" / "v1").glob(f"{name}_pb2_grpc.py*"):
            path.unlink()
    for package in (out / "wayword", out / "wayword" / "v1"):
        (package / "__init__.py").touch()


def same(one: Path, other: Path) -> bool:
    """Whether both files exist and hold the same bytes."""
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the generated code differs from the protos")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "wayword"
        if not check:
            shutil.rmtree(TARGET, ignore_errors=True)
            shutil.copytree(fresh, TARGET)
            return 0
        names = sorted(
            {
                path.relative_to(root)
                for root in (fresh, TARGET)
                for path in root.rglob("*")
                if path.suffix in {".py", ".pyi"}
            }
        )
        stale = [name for name in names if not same(fresh / name, TARGET / name)]
    for name in stale:
        print(f"shared/messages/wayword/{name} differs from proto/: run `python proto/generate.py`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
