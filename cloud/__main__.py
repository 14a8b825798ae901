"""`python -m cloud` is `segs-cloud`."""

from cloud.cli import main

main()
