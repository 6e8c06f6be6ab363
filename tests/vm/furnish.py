"""The first boot: what the tests find on the data disks is made in the guest, once for an image."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.vm.image import GUEST, Image
from tests.vm.machine import Vm


def furnish(image: Image) -> None:
    """Given an image with empty data disks, boot it, fill them and switch it off. Writes into the image."""
    with tempfile.TemporaryDirectory() as folder:
        vm = Vm(image, Path(folder), is_throw_away=False)
        try:
            vm.boot()
            vm.run((GUEST / "furnish.sh").read_text(), timeout_s=600)
            vm.switch_off()
        finally:
            vm.close()
