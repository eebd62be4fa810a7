//! `--sample`: prints the first records to standard output, without a destination.

use std::io::{self, Write};
use std::ops::Range;

use datagen_core::text::TextBuf;

/// How many records are printed if no number is given.
pub(crate) const DEFAULT_COUNT: u64 = 10;

/// How many bytes are collected before they are written.
const BLOCK_BYTES: usize = 64 << 10;

/// The records of a generator, one line each.
pub struct Sample {
    /// Appends the next record, with its line feed, or returns `false` after the last.
    write_line: Box<dyn FnMut(&mut TextBuf) -> bool>,
}

impl Sample {
    /// Creates a sample of the records that `write_line` appends, each with its line feed, until it returns `false`.
    pub fn new(write_line: impl FnMut(&mut TextBuf) -> bool + 'static) -> Self {
        Self {
            write_line: Box::new(write_line),
        }
    }

    /// Creates a sample of the records `ids`, each appended by `write_line` with its line feed.
    pub fn of_ids(mut ids: Range<u64>, mut write_line: impl FnMut(u64, &mut TextBuf) + 'static) -> Self {
        Self::new(move |out| {
            let id = ids.next();
            id.inspect(|id| write_line(*id, out)).is_some()
        })
    }

    /// Writes the first `count` records to `out`, or all if there are fewer, and returns their number. A reader that
    /// closes its end of a pipe has read enough; the result is then `count`.
    pub(crate) fn print(mut self, count: u64, out: &mut impl Write) -> io::Result<u64> {
        let mut block = TextBuf::default();
        let mut printed = 0;
        loop {
            let is_last = printed == count || !(self.write_line)(&mut block);
            if is_last || block.len() >= BLOCK_BYTES {
                match out.write_all(block.as_bytes()).and_then(|()| out.flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(count),
                    result => result?,
                }
                block.clear();
            }
            if is_last {
                return Ok(printed);
            }
            printed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes some bytes, then fails.
    struct OutputReader {
        room: usize,
        end: io::ErrorKind,
    }

    impl Write for OutputReader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(self.end.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn numbers(end: u64) -> Sample {
        Sample::of_ids(5..end, |id, out| {
            out.append(32, |out| {
                out.push_number(id);
                out.push_ascii(b'\n');
            });
        })
    }

    #[test]
    fn exactly_the_first_records_are_printed() {
        let mut text = Vec::new();
        assert_eq!(numbers(100).print(3, &mut text).unwrap(), 3);
        assert_eq!(text, b"5\n6\n7\n");
        let mut text = Vec::new();
        assert_eq!(numbers(7).print(3, &mut text).unwrap(), 2);
        assert_eq!(text, b"5\n6\n");
        assert_eq!(numbers(7).print(0, &mut Vec::new()).unwrap(), 0);
        let mut text = Vec::new();
        numbers(100_000).print(99_000, &mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 99_000);
        assert!(text.ends_with(b"\n99004\n"));
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        let print = |end| numbers(100_000).print(99_000, &mut OutputReader { room: 70_000, end });
        print(io::ErrorKind::BrokenPipe).unwrap();
        let error = print(io::ErrorKind::StorageFull).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
