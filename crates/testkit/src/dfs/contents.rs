//! The bytes of a file, in the pieces in which they arrived: assembling a file copies nothing, however large it is.

use bytes::Bytes;

/// The contents of a file.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pieces: Vec<Bytes>,
    length: u64,
}

impl Contents {
    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len() as u64;
        self.pieces.push(piece);
    }

    /// Returns all bytes in one piece, which is a copy if there are several pieces.
    pub fn to_bytes(&self) -> Bytes {
        match &self.pieces[..] {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl From<Bytes> for Contents {
    fn from(piece: Bytes) -> Self {
        let mut contents = Self::default();
        contents.push(piece);
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one() {
        let mut contents = Contents::default();
        assert_eq!((contents.length(), contents.to_bytes()), (0, Bytes::new()));
        contents.push(Bytes::from_static(b"ab"));
        contents.push(Bytes::new());
        contents.push(Bytes::from_static(b"c"));
        assert_eq!(
            (contents.length(), contents.to_bytes()),
            (3, Bytes::from_static(b"abc"))
        );
        assert_eq!(Contents::from(Bytes::from_static(b"x")).to_bytes(), "x");
    }
}
