"""Read-only questions about a checked, static model: what it costs, and where memory and time go.

``operators`` and ``arithmetic`` say what each operator takes, ``costs`` adds it up. ``program``
sees the graph as steps over shared storages, in whose terms ``order`` looks for a better order,
``memory`` says what lives when, ``arena`` places it, and ``roofline`` estimates the time.
``report`` puts all of it together, with the remedies of ``fixes``.
"""
