"""The command line: parse, call, print. One module a command; nothing else of lmm prints or exits."""
