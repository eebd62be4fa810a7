//! Messages that are not delivered exactly once and in time: late messages and duplicates.

use crate::rng::{Kind, RecordSeed, below, chance};

use super::MAX_PAGEVIEWS;

/// The delay between the event time of a late message and its sending in milliseconds, the second exclusive: one to
/// ten minutes.
pub const LATE_DELAY_MILLIS: (u64, u64) = (60_000, 600_000);

/// The delay between the first and the second sending of a message in milliseconds, the second exclusive: 2 to 30
/// seconds.
pub const DUPLICATE_DELAY_MILLIS: (u64, u64) = (2_000, 30_000);

/// The positions of the messages of a session, including its star rating, are below this.
const POSITIONS: u64 = 32;
const _: () = assert!(MAX_PAGEVIEWS < POSITIONS);

/// Decides which messages of a stream are late or sent twice. The decision depends only on the seed, the session and
/// the position of the message.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryFaults {
    seed: RecordSeed,
    /// One message in this many is late; 0 means none.
    pub late_one_in: u64,
    /// One message in this many is sent twice; 0 means none.
    pub duplicate_one_in: u64,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFaults {
    /// The delay between its event time and its sending in milliseconds, if it is late.
    pub late_ms: Option<u64>,
    /// The delay between its first and its second sending in milliseconds, if it is sent twice.
    pub duplicate_ms: Option<u64>,
}

impl DeliveryFaults {
    /// The faults in the stream of `seed`.
    pub fn new(seed: u64, late_one_in: u64, duplicate_one_in: u64) -> Self {
        Self {
            seed: RecordSeed::new(seed, Kind::Delivery),
            late_one_in,
            duplicate_one_in,
        }
    }

    /// What happens to the message at `position` of session `session`.
    #[inline]
    pub fn of(&self, session: u64, position: u8) -> MessageFaults {
        if self.late_one_in == 0 && self.duplicate_one_in == 0 {
            return MessageFaults::default();
        }
        let id = session.wrapping_mul(POSITIONS).wrapping_add(u64::from(position));
        let rng = &mut self.seed.rng(id);
        // All four numbers are always drawn, so that the frequency of one fault does not affect which messages have
        // the other.
        let mut fault = |one_in, (start, end)| {
            let (is_there, delay) = (chance(rng, 1, one_in), start + below(rng, end - start));
            (one_in > 0 && is_there).then_some(delay)
        };
        MessageFaults {
            late_ms: fault(self.late_one_in, LATE_DELAY_MILLIS),
            duplicate_ms: fault(self.duplicate_one_in, DUPLICATE_DELAY_MILLIS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_as_frequent_as_asked_for_and_independent() {
        let both = DeliveryFaults::new(3, 10, 5);
        let (mut late, mut twice, mut late_and_twice) = (0, 0, 0);
        for session in 0..5_000 {
            for position in 0..20 {
                let faults = both.of(session, position);
                late += u32::from(faults.late_ms.is_some());
                twice += u32::from(faults.duplicate_ms.is_some());
                late_and_twice += u32::from(faults.late_ms.is_some() && faults.duplicate_ms.is_some());
                assert!(faults.late_ms.is_none_or(|ms| (60_000..600_000).contains(&ms)));
                assert!(faults.duplicate_ms.is_none_or(|ms| (2_000..30_000).contains(&ms)));
                let alone = DeliveryFaults::new(3, 10, 0).of(session, position);
                assert_eq!((alone.late_ms, alone.duplicate_ms), (faults.late_ms, None));
                let alone = DeliveryFaults::new(3, 0, 5).of(session, position);
                assert_eq!((alone.late_ms, alone.duplicate_ms), (None, faults.duplicate_ms));
            }
        }
        // Of 100 000 messages, within five standard deviations.
        assert!((9_525..10_475).contains(&late), "{late}");
        assert!((19_370..20_630).contains(&twice), "{twice}");
        assert!((1_780..2_220).contains(&late_and_twice), "{late_and_twice}");
        let every = DeliveryFaults::new(3, 1, 1).of(0, 0);
        assert!(every.late_ms.is_some() && every.duplicate_ms.is_some());
    }
}
