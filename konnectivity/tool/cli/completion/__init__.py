"""Command `konnectivity completion`: prints what a shell needs to complete the words of all three programs.

command_words       programs, commands and options with their values, from the declarations
bash_script, zsh_script, fish_script    the text for each shell
"""

from konnectivity.tool.cli.completion.completion_scripts import add_to

__all__ = ["add_to"]
