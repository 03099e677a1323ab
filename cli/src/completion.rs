//! `evoke completion`: what a shell needs to complete the command line.

use std::io::{self, Write as _};

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  evoke completion bash > ~/.local/share/bash-completion/completions/evoke
  evoke completion zsh > ~/.zfunc/_evoke        with `fpath+=~/.zfunc` before `compinit`
  evoke completion fish > ~/.config/fish/completions/evoke.fish";

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completion {
    /// The shell that is to complete.
    shell: clap_complete::Shell,
}

impl Completion {
    /// Prints the script for this program.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn print(&self, program: clap::Command) -> io::Result<()> {
        match io::stdout().write_all(&self.script(program)) {
            // Who read enough of it has gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    fn script(&self, mut program: clap::Command) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "evoke", &mut script);
        script
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, ValueEnum as _};
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_gets_the_commands() {
        for shell in Shell::value_variants() {
            let program = Command::new("evoke").subcommand(Command::new("activation"));
            let script = Completion { shell: *shell }.script(program);
            assert!(String::from_utf8(script).unwrap().contains("activation"), "{shell}");
        }
    }
}
