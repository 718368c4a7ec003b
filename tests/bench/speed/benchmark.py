"""What an edit costs: against a plain step of the same batch, and against the same edit on materialised maps.

    make bench
    make bench ARGS="--models sd15 sdxl --sizes 512 768 1024 --repeats 5"
    make bench ARGS="--models sd3 flux --blocks 3 --sizes 256"
    make bench ARGS="--recorded"

With `--recorded` whole runs are compared instead of steps: edits of a recorded source, and of one that is sampled
beside them.

Full architectures, random weights. Each contender makes the same step of the same batch, turn by turn, in one
process; ratios are of medians. On the CPU seconds are the process's own. Prints a table and writes
`tests/bench/speed/results/<device>.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import bootstrap

from support import inside_comfyui


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument(
        "--models", nargs="+", choices=["sd15", "sdxl", "sd3", "flux", "chroma", "qwen", "lumina2", "zimage"]
    )
    parser.add_argument("--blocks", type=int, help="of a transformer, or of SDXL's deepest; default: all")
    parser.add_argument("--kinds", nargs="+", help="default: all")
    parser.add_argument("--sizes", nargs="+", type=int, help="pixels of the square pictures")
    parser.add_argument("--edits", nargs="+", type=int, default=[1, 2, 4], help="edits of one source, for growth")
    parser.add_argument("--repeats", type=int, help="rounds of every contender")
    parser.add_argument("--recorded", action="store_true", help="whole runs with a recorded source")
    parser.add_argument("--steps", type=int, default=5, help="of each of those runs")
    parser.add_argument("--keep", nargs="+", default=["attention", "predictions"], help="of a recorded source")
    parser.add_argument("--attention", choices=["pytorch", "sub-quadratic"], default="pytorch")
    parser.add_argument(
        "--no-maps-in-memory", action="store_true", help="leave out the contender with materialised maps"
    )
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    inside_comfyui.put_comfyui_first()
    from comfy.cli_args import args

    args.cpu = device == "cpu"
    args.use_pytorch_cross_attention = options.attention == "pytorch"
    inside_comfyui.load_pack(bootstrap.CHECKOUT)
    from bench.speed import recorded
    from bench.speed.contenders import kinds_of, measure
    from bench.speed.full_models import full_model

    slow = device == "cpu"
    models = options.models or (["sd15"] if slow else ["sd15", "sdxl"])
    sizes = options.sizes or ([256, 512] if slow else [512, 768, 1024])
    repeats = options.repeats or (2 if slow else 10)
    dtype = torch.float32 if slow else torch.float16
    rows = []
    for name in models:
        model = full_model(name, dtype, options.blocks)
        if options.recorded:
            for size, keep in itertools.product(sizes, options.keep):
                result = recorded.measure(model, name, size, options.steps, repeats, keep)
                rows.append({"model": name, "size": size, "keep": keep, "steps": options.steps, **result})
                print(recorded_line(rows[-1]), flush=True)
            continue
        kinds = kinds_of(name)
        first = next(iter(kinds))
        jobs = [(size, kind, 1) for size in sizes for kind in options.kinds or kinds]
        jobs += [(sizes[0], first, edits) for edits in options.edits if edits > 1]
        for size, kind, edits in jobs:
            with_maps = not options.no_maps_in_memory and kind in ("word swap", "map") and edits == 1
            result = measure(model, name, size, kind, edits, repeats, with_maps)
            rows.append({"model": name, "size": size, "kind": kind, "edits": edits, **result})
            print(line(rows[-1]), flush=True)
    about = {"device": torch.cuda.get_device_name() if not slow else f"{torch.get_num_threads()} CPU threads"}
    about |= {"torch": torch.__version__, "dtype": str(dtype), "attention": options.attention, "repeats": repeats}
    about |= {"blocks": options.blocks} if options.blocks else {}
    about |= {"recorded": True} if options.recorded else {}
    named = f"{device}_recorded" if options.recorded else device
    output = options.output or Path(__file__).with_name("results") / f"{named}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**about, "date": time.strftime("%Y-%m-%d"), "rows": rows}, indent=1))
    print(f"{about}\nwritten to {output}")


def line(row: dict) -> str:
    median = {name: statistics.median(seconds) for name, seconds in row["seconds"].items()}
    text = f"{row['model']} {row['size']:4d} px  {row['edits']} x {row['kind']:<24} plain {median['plain']:7.2f} s"
    text += f"   edit / plain {median['edit'] / median['plain']:.3f}"
    if "maps" in median:
        theirs, ours = (row["peak_bytes"][name] - row["peak_bytes"]["plain"] for name in ("maps", "edit"))
        text += f"   maps / edit {median['maps'] / median['edit']:.2f}"
        text += f"   extra memory {ours / 2**20:.0f} of {theirs / 2**20:.0f} MiB ({ours / max(theirs, 1):.1%})"
    return text


def recorded_line(row: dict) -> str:
    median = {name: statistics.median(seconds) for name, seconds in row["seconds"].items()}
    text = f"{row['model']} {row['size']:4d} px  keeps {row['keep']:<11} plain {median['plain']:7.2f} s"
    text += f"   record / plain {median['record'] / median['plain']:.3f}"
    text += f"   edit / both {median['edit'] / median['both']:.3f}"
    text += f"   {row['bytes'] / 2**20:.0f} MiB, computed {row['expected_bytes'] / 2**20:.0f}"
    return text + f"   apart {row['apart']:.0e}"


if __name__ == "__main__":
    main()
