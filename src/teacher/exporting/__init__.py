"""Parts of `export`: units of work that several processes may share, and the files that are written in the end."""
