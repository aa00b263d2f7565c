"""Quality a lead can trust: agreement, reliability and bias from a project's judgements.

Nothing here is imported when the web starts: the modules load numpy, so a page asks for them only when it needs them.
"""
