//! Where each setting comes from: flag, environment, file, default; the first that there is holds.
//!
//! [`Up`] is the one definition: what it has can stand in the file under the flag's name, and each
//! value is read by the flag's own parser, alone, so that every mistake is told and not only the
//! first.

mod file;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

use clap::{
    Arg, ArgMatches, Args as _, Command, CommandFactory as _, FromArgMatches as _,
    builder::{
        BoolishValueParser, FalseyValueParser, Resettable, TypedValueParser as _, ValueParser,
    },
    parser::ValueSource,
};

use self::file::Entry;
use crate::args::{Program, Up};

/// The flag that names the file; the one thing that cannot stand in it.
const CONFIG: &str = "config";

/// The settings as told, before they are checked against each other.
pub(crate) struct Told {
    /// What holds.
    pub(crate) up: Up,
    /// Each setting, in the order of the definition.
    pub(crate) settings: Vec<Setting>,
    /// Values that cannot be read, and keys that nobody knows.
    pub(crate) mistakes: Vec<String>,
}

/// One setting.
pub(crate) struct Setting {
    /// As the flag is named.
    pub(crate) name: String,
    /// None where it is not set and has no default.
    values: Vec<OsString>,
    /// Whether it is yes or no.
    is_switch: bool,
    /// Never shown.
    is_secret: bool,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// Where a value comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Variable(String),
    /// A line of the file.
    File(String, usize),
    /// Nobody told.
    Default,
}

/// The whole command line. The settings of a hub are taken as text there, to be read by [`told`].
pub(crate) fn program() -> Command {
    let loose = |command: Command| command.mut_args(as_text);
    Program::command().mut_subcommand("up", loose).mut_subcommand("config", |config| {
        config.mut_subcommand("check", loose).mut_subcommand("show", loose)
    })
}

/// What flags, environment and file say together.
///
/// # Errors
/// The definition contradicts itself, which no user can cause.
pub(crate) fn told(matches: &ArgMatches) -> Result<Told, clap::Error> {
    let definition = Up::augment_args(Command::new("up"));
    let arguments: Vec<&Arg> = definition.get_arguments().collect();
    let mut mistakes = Vec::new();
    let entries = file_of(&arguments, matches, &mut mistakes);
    let mut settings = Vec::new();
    for argument in &arguments {
        let name = name_of(argument);
        let entry = entries.iter().find(|entry| entry.key == name);
        settings.push(setting(argument, matches, entry, &mut mistakes));
    }
    let words = settings.iter().flat_map(|setting| words(setting, &setting.values));
    let strict = Command::new("up").no_binary_name(true).args(arguments.iter().map(|it| plain(it)));
    let up = Up::from_arg_matches(&strict.try_get_matches_from(words)?)?;
    Ok(Told { up, settings, mistakes })
}

impl Told {
    /// Where the setting comes from, where that is not the command line.
    pub(crate) fn origin(&self, name: &str) -> Option<&Origin> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        matches!(setting.origin, Origin::Variable(_) | Origin::File(..)).then_some(&setting.origin)
    }
}

/// The entries of the file that is named, if one is.
fn file_of(arguments: &[&Arg], matches: &ArgMatches, mistakes: &mut Vec<String>) -> Vec<Entry> {
    let argument = arguments.iter().find(|argument| name_of(argument) == CONFIG);
    let named = argument.and_then(|argument| {
        from_flag(argument, matches).or_else(|| from_environment(argument)).map(|(it, _)| it)
    });
    let Some(path) = named.unwrap_or_default().pop() else { return Vec::new() };
    let known: Vec<String> =
        arguments.iter().map(|it| name_of(it)).filter(|name| name != CONFIG).collect();
    match file::read(Path::new(&path), &known) {
        Ok((entries, wrong)) => {
            mistakes.extend(wrong);
            entries
        }
        Err(error) => {
            mistakes.push(error.to_string());
            Vec::new()
        }
    }
}

/// The first source that has a value that can be read; what cannot be read is a mistake, used or
/// not.
fn setting(
    argument: &Arg,
    matches: &ArgMatches,
    entry: Option<&Entry>,
    mistakes: &mut Vec<String>,
) -> Setting {
    let mut setting = Setting {
        name: name_of(argument),
        values: argument.get_default_values().iter().map(|it| it.as_os_str().to_owned()).collect(),
        is_switch: !argument.get_action().takes_values(),
        is_secret: argument.is_hide_env_values_set(),
        origin: Origin::Default,
    };
    let in_file = entry.map(|it| (it.values.clone(), Origin::File(it.file.clone(), it.line)));
    let sources = [from_flag(argument, matches), from_environment(argument), in_file];
    let mut found = false;
    for (values, origin) in sources.into_iter().flatten() {
        match read(argument, &setting, &values) {
            Ok(()) if found => {}
            Ok(()) => (setting.values, setting.origin, found) = (values, origin, true),
            Err(mistake) => mistakes.push(match origin {
                Origin::Flag | Origin::Default => mistake,
                origin @ (Origin::Variable(_) | Origin::File(..)) => format!("{origin}: {mistake}"),
            }),
        }
    }
    setting
}

type Given = (Vec<OsString>, Origin);

fn from_flag(argument: &Arg, matches: &ArgMatches) -> Option<Given> {
    let id = argument.get_id().as_str();
    if matches.value_source(id) != Some(ValueSource::CommandLine) {
        return None;
    }
    let values = if argument.get_action().takes_values() {
        matches.get_raw(id)?.map(OsStr::to_owned).collect()
    } else {
        vec!["true".into()]
    };
    Some((values, Origin::Flag))
}

fn from_environment(argument: &Arg) -> Option<Given> {
    let variable = argument.get_env()?;
    let value = std::env::var_os(variable)?;
    Some((vec![value], Origin::Variable(variable.to_string_lossy().into_owned())))
}

/// Whether the flag's own parser takes it; else what it says.
fn read(argument: &Arg, setting: &Setting, values: &[OsString]) -> Result<(), String> {
    let alone = Command::new("up").no_binary_name(true).arg(plain(argument));
    if setting.is_switch {
        let wrong = values.iter().find(|value| boolean(value).is_none());
        return wrong.map_or(Ok(()), |value| {
            let value = value.to_string_lossy();
            Err(format!("invalid value '{value}' for '--{}': true or false wanted", setting.name))
        });
    }
    match alone.try_get_matches_from(words(setting, values)) {
        Ok(_) => Ok(()),
        Err(error) => Err(sentence(&error)),
    }
}

/// The words that a command line would have.
fn words(setting: &Setting, values: &[OsString]) -> Vec<OsString> {
    let flag = OsString::from(format!("--{}", setting.name));
    if setting.is_switch {
        let is_on = values.last().is_some_and(|value| is_yes(value));
        return is_on.then_some(flag).into_iter().collect();
    }
    let word = |value: &OsString| {
        let mut word = flag.clone();
        word.push("=");
        word.push(value);
        word
    };
    values.iter().map(word).collect()
}

fn is_yes(value: &OsStr) -> bool {
    boolean(value).unwrap_or(false)
}

fn boolean(value: &OsStr) -> Option<bool> {
    BoolishValueParser::new().parse_ref(&Command::new("up"), None, value).ok()
}

/// What clap says, without its frame.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

fn name_of(argument: &Arg) -> String {
    argument.get_long().unwrap_or_else(|| argument.get_id().as_str()).to_owned()
}

/// The argument without the environment.
fn plain(argument: &Arg) -> Arg {
    argument.clone().env(Resettable::Reset)
}

/// The argument, taking any text.
fn as_text(argument: Arg) -> Arg {
    if argument.get_action().takes_values() {
        argument.value_parser(ValueParser::os_string())
    } else {
        argument.value_parser(FalseyValueParser::new())
    }
}

// === impl Setting ===

impl fmt::Display for Setting {
    /// A line of a file, and where it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |value: &OsString| {
            let text = value.to_string_lossy();
            if text.parse::<u64>().is_ok() { text.into_owned() } else { file::quoted(&text) }
        };
        let values: Vec<String> = self.values.iter().map(quoted).collect();
        let value = match values.as_slice() {
            _ if self.is_switch => self.values.last().is_some_and(|it| is_yes(it)).to_string(),
            [] => return write!(f, "# {} is not set", self.name),
            _ if self.is_secret => return write!(f, "# {} is set: {}", self.name, self.origin),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        write!(f, "{} = {value} # {}", self.name, self.origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Variable(name) => f.write_str(name),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests;
