//! Bytes of a record: lengths and numbers as varints, texts and blobs behind their length.

use bytes::{BufMut, Bytes};
use evoke_schemas::{EntityName, EntityUid, FullName, Namespace, Position};

/// A record could not be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record is damaged or of an unknown version at `{0}`")]
pub struct DecodeError(pub &'static str);

/// Builds a record's bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

/// Takes a record's bytes apart; blobs are slices of the record, not copies.
#[derive(Debug)]
pub(crate) struct Reader {
    data: Bytes,
    at: usize,
}

// === impl Writer ===

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
        self.0.push(value as u8);
    }

    pub(crate) fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.raw(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    /// Absent and empty are told apart: the length is one more than the text's.
    pub(crate) fn optional_blob(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.byte(0),
            Some(bytes) => {
                self.size(bytes.len().saturating_add(1));
                self.raw(bytes);
            }
        }
    }

    pub(crate) fn optional_text(&mut self, text: Option<&str>) {
        self.optional_blob(text.map(str::as_bytes));
    }

    pub(crate) fn optional_number(&mut self, value: Option<u64>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.number(value);
        }
    }

    pub(crate) fn position(&mut self, position: Position) {
        self.number(u64::from(position.partition));
        self.number(position.offset);
    }

    pub(crate) fn full_name(&mut self, name: &FullName) {
        self.text(name.namespace.as_str());
        self.optional_text(name.package.as_ref().map(EntityName::as_str));
        self.text(name.name.as_str());
    }
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(data: Bytes) -> Self {
        Self { data, at: 0 }
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        let end = self
            .at
            .checked_add(len)
            .filter(|end| *end <= self.data.len())
            .ok_or(DecodeError(what))?;
        let slice = self.data.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let byte = self.data.get(self.at).copied().ok_or(DecodeError(what))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError(what))
    }

    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        self.number(what)?.try_into().ok().ok_or(DecodeError(what))
    }

    /// A count of things that take at least one byte each, so that damage cannot ask for memory.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let count: usize = self.narrow(what)?;
        if count > self.data.len().saturating_sub(self.at) {
            return Err(DecodeError(what));
        }
        Ok(count)
    }

    pub(crate) fn blob(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.narrow(what)?;
        self.take(len, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, DecodeError> {
        utf8(&self.blob(what)?, what)
    }

    pub(crate) fn optional_blob(
        &mut self,
        what: &'static str,
    ) -> Result<Option<Bytes>, DecodeError> {
        match self.narrow::<usize>(what)? {
            0 => Ok(None),
            more => self.take(more - 1, what).map(Some),
        }
    }

    pub(crate) fn optional_text(
        &mut self,
        what: &'static str,
    ) -> Result<Option<String>, DecodeError> {
        self.optional_blob(what)?.map(|bytes| utf8(&bytes, what)).transpose()
    }

    pub(crate) fn optional_number(
        &mut self,
        what: &'static str,
    ) -> Result<Option<u64>, DecodeError> {
        match self.byte(what)? {
            0 => Ok(None),
            1 => self.number(what).map(Some),
            _ => Err(DecodeError(what)),
        }
    }

    pub(crate) fn uid(&mut self, what: &'static str) -> Result<EntityUid, DecodeError> {
        self.sixteen(what).map(EntityUid)
    }

    pub(crate) fn sixteen(&mut self, what: &'static str) -> Result<[u8; 16], DecodeError> {
        let bytes = self.take(16, what)?;
        bytes.first_chunk().copied().ok_or(DecodeError(what))
    }

    pub(crate) fn position(&mut self, what: &'static str) -> Result<Position, DecodeError> {
        Ok(Position { partition: self.narrow(what)?, offset: self.number(what)? })
    }

    pub(crate) fn name(&mut self, what: &'static str) -> Result<EntityName, DecodeError> {
        let text = self.blob(what)?;
        parse_name(&text, what)
    }

    pub(crate) fn namespace(&mut self, what: &'static str) -> Result<Namespace, DecodeError> {
        let text = self.blob(what)?;
        let text = std::str::from_utf8(&text).ok().ok_or(DecodeError(what))?;
        Namespace::new(text).ok().ok_or(DecodeError(what))
    }

    pub(crate) fn full_name(&mut self, what: &'static str) -> Result<FullName, DecodeError> {
        let namespace = self.namespace(what)?;
        let package = self.optional_blob(what)?.map(|text| parse_name(&text, what)).transpose()?;
        Ok(FullName { namespace, package, name: self.name(what)? })
    }
}

fn utf8(bytes: &Bytes, what: &'static str) -> Result<String, DecodeError> {
    std::str::from_utf8(bytes).map(str::to_owned).ok().ok_or(DecodeError(what))
}

fn parse_name(text: &[u8], what: &'static str) -> Result<EntityName, DecodeError> {
    let text = std::str::from_utf8(text).ok().ok_or(DecodeError(what))?;
    EntityName::new(text).ok().ok_or(DecodeError(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_at_every_width_and_cut_ones_are_refused() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut writer = Writer::default();
            writer.number(value);
            let bytes = writer.finish();
            assert_eq!(Reader::new(bytes.clone()).number("n"), Ok(value));
            let cut = bytes.slice(..bytes.len() - 1);
            assert_eq!(Reader::new(cut).number("n"), Err(DecodeError("n")));
        }
    }

    #[test]
    fn a_length_beyond_the_record_is_refused() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        writer.raw(b"abc");
        let bytes = writer.finish();
        assert_eq!(Reader::new(bytes.clone()).blob("b"), Err(DecodeError("b")));
        assert_eq!(Reader::new(bytes).count("c"), Err(DecodeError("c")));
    }
}
