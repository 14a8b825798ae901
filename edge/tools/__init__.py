"""What a field engineer does by hand: a module a tool, with its `command`, over `lines` and `messages`.

The daemon imports none of it.
"""
