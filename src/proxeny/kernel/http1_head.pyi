# The grammar is for other kernel modules only: see http1_head.pxd.
