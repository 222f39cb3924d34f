"""A process that fetches large ranges for the daemon and keeps them in its cache by itself.

Python has one lock per process.  While the daemon answers the kernel, and pyfuse3 copies each
answer with that lock held, nobody in it can take bytes from the network.  What is fetched ahead of
its readers needs no hand of the daemon's: this process (``python -m vbofs.transfer``) checks each
answer as the daemon would, writes data and map through two descriptors that it is sent, and says
how far it is.  It holds no name, opens no file, and has no state that matters: it may die at any
moment, and then the daemon fetches the rest.
"""
