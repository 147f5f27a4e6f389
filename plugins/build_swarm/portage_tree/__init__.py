"""A Portage tree on this host: which version an atom without one means, and what must be built before what.

Read from the tree's own metadata cache (``metadata/md5-cache``), and not by asking Portage: most hosts of the
appliance are no Gentoo hosts and have no Portage, and a cache is the same for every version of it. What it cannot know
is the configuration of the drones (their profile, USE flags and masks): a drone's own Portage has the last word, and
reports ``masked`` where it will not have what was chosen here.
"""
