//! Bytes as hexadecimal text, made on the stack: each activation's id is written many times.

use std::fmt;

/// Writes bytes as lower-case digits.
///
/// # Errors
/// Those of the formatter.
pub(crate) fn write<const N: usize>(bytes: &[u8; N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [[0; 2]; N];
    let digits = text.as_flattened_mut();
    hex::encode_to_slice(bytes, digits).map_err(|_length| fmt::Error)?;
    f.write_str(std::str::from_utf8(digits).map_err(|_digits| fmt::Error)?)
}
