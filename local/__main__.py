"""`python -m local` is `segs`."""

from local.cli import main

main()
