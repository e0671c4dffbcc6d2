#!/usr/bin/env python3
"""Turns what compare.py measured into a table and plots: benches/report.py [RESULTS] [PLOT]

The table, in Markdown, goes to standard output; the plot, seconds in a bar for each tool, is an SVG. Beside it goes
PLOT-front.svg, the part of it that the README shows.
"""

import json
import pathlib
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
OURS, DIGESTED = "untar-in-root", "untar-in-root, diff ID"
COLOURS = {OURS: "#1f6f43", DIGESTED: "#76b893", "GNU tar": "#c2703d", "bsdtar": "#7a6fb0", "umoci": "#9a9a9a", "buildah": "#c9c9c9"}
FRONT = [("root", "gzip", "ext4"), ("small", "gzip", "ext4")]
# A bar longer than this many times ours is cut, and says its length.
CUT = 5


def main():
    results = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPO / "target/bench.jsonl"
    picture = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else REPO / "docs/performance.svg"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    table(rows)
    picture.write_text(plot([row for row in rows if row["archive"] != "tiny"]))
    front = [row for row in rows if (row["archive"], row["compression"], row["fs"]) in FRONT]
    picture.with_name(f"{picture.stem}-front.svg").write_text(plot(front))


def best(tools, prefix):
    """The fastest variant of a tool: its name and figures."""
    found = [(name, figures) for name, figures in tools.items() if name == prefix or name.startswith(prefix + ", ")]
    return min(found, key=lambda pair: pair[1]["wall"], default=(None, None))


def table(rows):
    print("| archive | file system | ours, s | diff ID too | GNU tar | bsdtar | umoci | buildah | of F2 | CPU of floors | MiB |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        tools, ours = row["tools"], row["tools"][OURS]
        cells = [f"{row['archive']}, {row['compression']}", row["fs"], f"{ours['wall']:.4g}"]
        for name in (DIGESTED, "GNU tar", "bsdtar", "umoci", "buildah"):
            figures = tools.get(DIGESTED) if name == DIGESTED else best(tools, name)[1]
            cells.append(f"{figures['wall'] / ours['wall']:.2f}" if figures else "")
        floors = row.get("floors")
        if floors:
            least = floors["decode"] + floors["hash"] + floors["create1"]
            cells += [f"{tools[DIGESTED]['wall'] / floors['f2']:.2f}", f"{tools[DIGESTED]['cpu'] / least:.2f}"]
        else:
            cells += ["", ""]
        cells.append(f"{ours['peak_mib']:.0f}")
        print("| " + " | ".join(cells) + " |")


def plot(rows):
    bar, gap, left, unit = 13, 14, 150, 120
    parts, y = [], 34
    for row in rows:
        ours = row["tools"][OURS]["wall"]
        parts.append(text(left - 8, y + bar, f"{row['archive']}, {row['compression']}, {row['fs']}", "end"))
        for name in (OURS, DIGESTED, "GNU tar", "bsdtar", "umoci", "buildah"):
            variant, figures = (name, row["tools"].get(name)) if name.startswith(OURS) else best(row["tools"], name)
            if not figures:
                continue
            ratio = figures["wall"] / ours
            width = min(ratio, CUT) * unit
            parts.append(f'<rect x="{left}" y="{y}" width="{width:.0f}" height="{bar - 2}" fill="{COLOURS[name]}"/>')
            label = f"{variant} {figures['wall']:.2f} s" + (f" ({ratio:.0f} times)" if ratio > CUT else "")
            parts.append(text(left + width + 4, y + bar - 3, label, "start"))
            y += bar
        y += gap
    head = text(left, 18, "Wall time, shorter is better; each group to the scale of its first bar", "start")
    size = f'width="{left + CUT * unit + 210}" height="{y}"'
    style = "<style>text{font:10px sans-serif;fill:#333}</style>"
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{ground}{head}{"".join(parts)}</svg>\n'


def text(x, y, words, anchor):
    return f'<text x="{x:.0f}" y="{y}" text-anchor="{anchor}">{words}</text>'


if __name__ == "__main__":
    main()
