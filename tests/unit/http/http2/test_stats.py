"""The names of the codec's statistics stand in the order in which the kernel counts."""

import re
from pathlib import Path

import proxeny.kernel.http2_receiver
from proxeny.http.http2.stats import HTTP2


def test_the_kernel_counts_in_this_order():
    pxd = (Path(proxeny.kernel.http2_receiver.__file__).parent / "http2_receiver.pxd").read_text()
    block = pxd[pxd.index("cdef enum Stat") : pxd.index("cdef class Http2Receiver")]
    assert tuple(name.lower() for name in re.findall(r"^    ([A-Z0-9_]+)", block, re.M)) == HTTP2.names
