//! A page of the documentation, whose examples are run: what it says to do, and what must come of it.
//!
//! A fence `console` holds commands (`$ …`, over several lines where a line ends in `\`, a quote is open or a
//! here-document begins) and the output below each. Without output only the exit status counts, which must
//! be 0; a last line `[exit 3]` says that it is another. A line `…` stands for any lines, `…` within a line
//! for any text; ids, positions, times, durations in tables and column widths need not be the same ones. A fence with a language and a
//! file's name (but for `rust`, which quotes the project) writes that file first. What is in `<!-- console`
//! … `-->` is run and not shown. `<!-- hub: --dev-keys -->` gives the page's hub more words,
//! `<!-- hub: none -->` leaves it to the page to start one: a command that ends in ` &` goes on in the
//! background, and `kill %1` ends the first of them.
//!
//! `parse`: the text. `expected`: whether an output is the one wanted. `play`: the page in a room of its own.

pub mod expected;
pub mod parse;
pub mod play;
