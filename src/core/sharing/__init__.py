"""Work that several processes do together, on one machine or on several, through a folder that all of them see.

May be imported by anyone.
"""
