"""Runtime of a process: start and end, options, logs, guarded tasks, standard streams, profiles and memory.

`lifecycle` runs a program and `launcher` selects it; `options` and `logs` are packages of their own. No module of this
package but `shared_options` knows tunnels, of which it knows the memory budget.
"""
