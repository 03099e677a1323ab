//! Makes the data directory that later versions must open: `fixture FILE`, with the hub of
//! `EVOKE_BIN`. Run once for each version of data directories, and the file is kept for ever.

use std::{path::Path, process::ExitCode};

use evoke_tests::fixture;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "it speaks to who runs it")]
async fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: EVOKE_BIN=… fixture tests/fixtures/data-vN/{}", fixture::PACKED);
        return ExitCode::from(2);
    };
    match fixture::make(Path::new(&file)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture: {error}");
            ExitCode::FAILURE
        }
    }
}
