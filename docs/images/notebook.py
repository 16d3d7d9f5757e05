"""Runs the notebooks of the documentation, so that their outputs are in the files, and takes the pictures of docs/notebooks.rst in JupyterLab.

    $ python -m docs.images.notebook          # in the folder of the project; writes docs/*.ipynb and docs/images/notebook-*.png
    $ python -m docs.images.notebook batch    # one picture
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from tests import services
from tests.deploy.jupyter import JupyterLab, Notebook
from tests.docs.notebooks import NOTEBOOKS, executed, kernel_environment

PICTURES = {
    "answer": ["from hfclient import Client\n\nclient = Client.local()\nclient.chat(\"Show the loops of Python in a short function.\")"],
    "chat": [
        '%load_ext hfclient\n\ncountry = "Italy"',
        "%%chat --local --into answer\nWhat is the capital of {country}? One word.",
        "%chat And how many people live there?",
        "answer.text",
        "%%chat --",
    ],
    "batch": [
        "import pandas as pd\nfrom typing import Literal\n\nfrom hfclient import Client\n\nclient = Client.local()\n"
        'reviews = pd.read_csv("reviews.csv")[40:48]',
        'sentiment = Literal["positive", "mixed", "negative"]\n'
        'batch = client.inference.map(reviews, column="text", call="parse", into=sentiment)\nbatch.results()',
    ],
    "values": [
        "from hfclient import Client\n\nclient = Client.local()\n"
        'for question in ("What is rain?", "Why is the sky blue?", "Count to ten."):\n    client.chat(question).result()\n'
        "client.conversations.list()",
        'client.inference.images("a lighthouse by the sea", 3)',
    ],
}


def taken(page: Any, notebook: Notebook, first: int, last: int, below: int = 0) -> Image.Image:
    """Return a picture of the cells from *first* to *last*, and of *below* pixels under them."""
    notebook.cell(first).scroll_into_view_if_needed()
    page.mouse.move(1, 1)
    page.wait_for_timeout(800)
    top, end = notebook.cell(first).bounding_box(), notebook.cell(last).bounding_box()
    clip = {"x": top["x"], "y": top["y"], "width": top["width"], "height": end["y"] + end["height"] - top["y"] + below}
    return Image.open(io.BytesIO(page.screenshot(clip=clip)))


def write(name: str, picture: Image.Image) -> None:
    """Save the picture with 256 colours: small, and the text stays sharp."""
    path = Path(__file__).with_name(f"notebook-{name}.png")
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {picture.width}x{picture.height}, {path.stat().st_size} bytes")


def main() -> None:
    """Write the notebooks and the pictures, or the named pictures."""
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for path in NOTEBOOKS if not chosen else ():
            nbformat.write(executed(path, Path(folder)), path)
        lab = JupyterLab(HFCLIENT_HOME=folder)
        kernel_environment(lab.folder / "ipythondir")
        with lab, services.browser() as browser:
            for colours, names in (("light", ("answer", "chat", "batch")), ("dark", ("values",))):
                context = browser.new_context(viewport={"width": 900, "height": 2400}, device_scale_factor=1.25)
                for name in (name for name in names if not chosen or name in chosen):
                    page = context.new_page()
                    cells = PICTURES[name]
                    opened = lab.open(page, cells, name)
                    page.keyboard.press("Control+b")  # without the list of files
                    page.wait_for_timeout(500)
                    if colours == "dark":
                        page.click("text=Settings")
                        page.click("text=Theme >> visible=true")
                        page.click("text=JupyterLab Dark")
                        page.wait_for_function("document.body.dataset.jpThemeName === 'JupyterLab Dark'")
                    last = len(cells) - 1
                    for number, cell in enumerate(cells):
                        if not cell.endswith("--"):
                            opened.run(number)
                    if cells[last].endswith("--"):
                        opened.cell(last).locator(".cm-content").click()
                        page.keyboard.press("End")
                        page.keyboard.press("Tab")
                        page.wait_for_selector(".jp-Completer")
                        write(name, taken(page, opened, 0, last, 230))
                    else:
                        page.keyboard.press("Escape")
                        write(name, taken(page, opened, 0, last))
                context.close()


if __name__ == "__main__":
    main()
