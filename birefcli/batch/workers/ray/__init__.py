"""Workers on the machines of a Ray cluster: an actor for each GPU, or for each machine.

Only names, options and outcomes travel. What imports Ray is below; the package itself does not.
"""
