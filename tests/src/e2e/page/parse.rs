//! What a page says to do, in its order.

/// A page as its examples are run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What the page's hub is told.
    pub hub: Start,
    /// Files to write and commands to run.
    pub steps: Vec<Step>,
}

/// The hub of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// One with these words after `up`.
    With(Vec<String>),
    /// None: the page starts its own.
    Without,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a file.
    File {
        /// Path below the room.
        name: String,
        /// All of it.
        text: String,
    },
    /// Run a command.
    Command(Example),
}

/// A command and what must come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Number of its first line in the page, from 1.
    pub line: usize,
    /// For the shell; may have several lines.
    pub command: String,
    /// Lines of its output; empty where any will do.
    pub wanted: Vec<String>,
    /// Its exit status.
    pub exit: i32,
}

/// A page that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mistake {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// What is being read.
enum Within {
    Prose,
    /// Commands, until this line.
    Console(String),
    /// A file, until this line.
    File(String),
    /// Anything else, until this line.
    Other(String),
}

impl Default for Start {
    fn default() -> Self {
        Self::With(Vec::new())
    }
}

// === impl Page ===

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// Output before a command; a fence or command that has no end.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut page = Self::default();
        let mut within = Within::Prose;
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        while let Some((line, text)) = lines.next() {
            let is_end = |end: &str| text.trim_end() == end;
            match &within {
                Within::Prose => within = page.open(text),
                Within::Console(end) | Within::File(end) | Within::Other(end) if is_end(end) => {
                    within = Within::Prose;
                }
                Within::Other(_) => {}
                Within::File(_) => page.file_line(text),
                Within::Console(_) => match text.strip_prefix("$ ") {
                    Some(first) => {
                        let command = whole(first, &mut lines);
                        let command =
                            command.ok_or(Mistake { line, what: "the command has no end" })?;
                        let example = Example { line, command, ..Example::default() };
                        page.steps.push(Step::Command(example));
                    }
                    None => page.output_line(line, text)?,
                },
            }
        }
        match within {
            Within::Prose => Ok(page),
            _ => Err(Mistake { line: text.lines().count(), what: "the fence has no end" }),
        }
    }

    /// Whether nothing of it is run.
    #[must_use]
    pub fn is_without_examples(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Command(_)))
    }

    /// What a line of prose opens.
    fn open(&mut self, text: &str) -> Within {
        if let Some(words) =
            text.strip_prefix("<!-- hub:").and_then(|rest| rest.strip_suffix("-->"))
        {
            self.hub = match words.trim() {
                "none" => Start::Without,
                words => Start::With(words.split_whitespace().map(str::to_owned).collect()),
            };
        }
        if text.trim_end() == "<!-- console" {
            return Within::Console("-->".to_owned());
        }
        let ticks = text.chars().take_while(|c| *c == '`').count();
        if ticks < 3 {
            return Within::Prose;
        }
        let (end, said) = text.split_at(ticks);
        match said.trim().split_once(' ') {
            None if said.trim() == "console" => Within::Console(end.to_owned()),
            Some((language, name)) if language != "rust" => {
                let name = name.trim().to_owned();
                self.steps.push(Step::File { name, text: String::new() });
                Within::File(end.to_owned())
            }
            _ => Within::Other(end.to_owned()),
        }
    }

    fn file_line(&mut self, line: &str) {
        if let Some(Step::File { text, .. }) = self.steps.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }

    fn output_line(&mut self, line: usize, text: &str) -> Result<(), Mistake> {
        let Some(Step::Command(example)) = self.steps.last_mut() else {
            return Err(Mistake { line, what: "output without a command" });
        };
        let exit = text.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']'));
        match exit.and_then(|code| code.parse().ok()) {
            Some(exit) => example.exit = exit,
            None => example.wanted.push(text.trim_end().to_owned()),
        }
        Ok(())
    }
}

// === impl Example ===

/// Words of `evoke` that only look.
const LOOKS: &[&str] = &["list", "show", "get", "logs", "result", "poll", "runtimes"];
/// Words of `curl` that make it more than a look.
const SENDS: &[&str] = &["-X", "-d", "--data", "--data-binary", "-T", "--request", "--json"];

impl Example {
    /// Whether it only looks, so that it may be run again until what it looks for is there.
    #[must_use]
    pub fn is_a_look(&self) -> bool {
        let words: Vec<_> = self.command.split_whitespace().collect();
        match words.as_slice() {
            ["evoke", noun, verb, ..] => LOOKS.contains(verb) || LOOKS.contains(noun),
            ["evoke", noun] => LOOKS.contains(noun),
            ["curl", rest @ ..] => !rest.iter().any(|word| SENDS.contains(word)),
            _ => false,
        }
    }

    /// Whether the shell goes on while it runs.
    #[must_use]
    pub fn is_in_the_background(&self) -> bool {
        self.command.ends_with(" &")
    }
}

/// The whole of a command that begins so; `None` where the page ends before it does.
fn whole<'a>(first: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    let mut command = first.trim_end().to_owned();
    while command.ends_with('\\') || is_quote_open(&command) {
        command.push('\n');
        command.push_str(lines.next()?.1);
    }
    if let Some(end) = here_document(&command) {
        loop {
            let line = lines.next()?.1;
            command.push('\n');
            command.push_str(line);
            if line == end {
                break;
            }
        }
    }
    Some(command)
}

fn is_quote_open(command: &str) -> bool {
    let mut open = None;
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        match (open, c) {
            (None | Some('"'), '\\') => {
                characters.next();
            }
            (None, '\'' | '"') => open = Some(c),
            (Some(quote), c) if c == quote => open = None,
            _ => {}
        }
    }
    open.is_some()
}

/// The line that ends the here-document which the command begins.
fn here_document(command: &str) -> Option<String> {
    let (_, rest) = command.split_once("<<")?;
    let word = rest.trim_start_matches('-').split_whitespace().next()?;
    Some(word.trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<Example> {
        let steps = Page::parse(text).unwrap().steps;
        let command = |step| match step {
            Step::Command(example) => Some(example),
            Step::File { .. } => None,
        };
        steps.into_iter().filter_map(command).collect()
    }

    #[test]
    fn commands_have_their_lines_output_and_exit_status() {
        let text = "# A\n\n```console\n$ a \\\n  b\none\n\ntwo  \n$ c 'x\ny'\n[exit 3]\n```\n";
        let examples = commands(text);
        assert_eq!(examples.len(), 2);
        assert_eq!((examples[0].line, examples[0].command.as_str()), (4, "a \\\n  b"));
        assert_eq!(examples[0].wanted, ["one", "", "two"]);
        assert_eq!((examples[0].exit, examples[1].exit), (0, 3));
        assert_eq!(examples[1].command, "c 'x\ny'");
        assert!(examples[1].wanted.is_empty());
    }

    #[test]
    fn here_documents_go_on_to_their_end() {
        let examples = commands("```console\n$ cat > f <<'JS'\n$ x \"\nJS\n$ cat f\n```");
        assert_eq!(examples[0].command, "cat > f <<'JS'\n$ x \"\nJS");
        assert_eq!(examples[1].command, "cat f");
        assert!(Page::parse("```console\n$ cat <<JS\nx\n```\n").is_err());
    }

    #[test]
    fn files_are_written_and_quotes_are_not() {
        let page = Page::parse(
            "<!-- hub: --dev-keys -->\n```js a.js\nfunction\n\n```\n```rust src/lib.rs\nx\n```\n\
             ```sh\n$ not run\n```\n<!-- console\n$ hidden\n-->\n",
        )
        .unwrap();
        assert_eq!(page.hub, Start::With(vec!["--dev-keys".to_owned()]));
        let file = Step::File { name: "a.js".to_owned(), text: "function\n\n".to_owned() };
        let hidden = Example { line: 13, command: "hidden".to_owned(), ..Example::default() };
        assert_eq!(page.steps, [file, Step::Command(hidden)]);
        assert_eq!(Page::parse("<!-- hub: none -->\n").unwrap().hub, Start::Without);
    }

    #[test]
    fn mistakes_name_their_line() {
        let check = |text, line| assert_eq!(Page::parse(text).unwrap_err().line, line, "{text}");
        check("```console\nfirst\n```\n", 2);
        check("```console\n$ a\n", 2);
        check("x\n```console\n$ a \\\n", 3);
    }

    #[test]
    fn looks_are_told_from_acts() {
        let check = |command: &str, is_a_look| {
            let example = Example { command: command.to_owned(), ..Example::default() };
            assert_eq!(example.is_a_look(), is_a_look, "{command}");
        };
        check("evoke activation list hello", true);
        check("evoke runtimes", true);
        check("evoke action invoke hello", false);
        check("evoke trigger create list", false);
        check("curl -s http://127.0.0.1:3233/readyz", true);
        check("curl -s -X DELETE http://127.0.0.1:3233/x", false);
        check("cat list", false);
    }
}
