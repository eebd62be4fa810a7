//! The messages of a stream as events: the time of each, and the ids by which consumers recognize it.
//!
//! `session_id` is `TAG-ORDINAL`, where TAG is the tag of the stream and ORDINAL is the number of the session, both
//! with 16 hexadecimal digits. `event_id` adds the position of the message in the session, with two decimal digits.
//! Sorting the ids of a stream as texts therefore sorts them by these numbers.

use super::{MOST_PAGEVIEW_BYTES, MOST_STARS_BYTES, Pageview, StarRating};
use crate::locale::network::UserAgent;
use crate::rng::mix;
use crate::text::{Cursor, TextBuf, date_time};

/// The length of `session_id`, in bytes.
const SESSION_ID_LEN: usize = 33;

/// The length of `event_id`, in bytes.
const EVENT_ID_LEN: usize = 36;

/// The length of `event_time`, in bytes: `2026-11-26T10:00:00.123Z`.
const EVENT_TIME_LEN: usize = 24;

/// The length of the part of `event_time` before the seconds, in bytes.
const MINUTE_LEN: usize = 17;

/// The maximum length of the fields of an event as JSON, in bytes, with some space for padded copies.
const MOST_EVENT_BYTES: usize = 192;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Distinguishes streams: streams with the same tag have the same bytes for the same ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTag(u64);

impl StreamTag {
    /// The tag of a stream whose bytes depend only on `parameters`, in this order.
    pub fn new(parameters: &[u64]) -> Self {
        let length = parameters.len() as u64;
        Self(
            parameters
                .iter()
                .fold(mix(length), |hash, &word| mix(mix(hash) ^ word)),
        )
    }

    /// The first part of all ids of the stream.
    pub fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The ids of a message and of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId([u8; EVENT_ID_LEN]);

impl EventId {
    /// The ids of the message at `position` of session `session`.
    #[inline]
    pub fn new(StreamTag(tag): StreamTag, session: u64, position: u8) -> Self {
        let mut text = [b'-'; EVENT_ID_LEN];
        text[..16].copy_from_slice(&hex(tag));
        text[17..33].copy_from_slice(&hex(session));
        text[34] = b'0' + position / 10;
        text[35] = b'0' + position % 10;
        Self(text)
    }

    /// `event_id`.
    pub fn event_id(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }

    /// `session_id`.
    pub fn session_id(&self) -> &str {
        &self.event_id()[..SESSION_ID_LEN]
    }
}

#[inline]
fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| HEX_DIGITS[(number >> (60 - 4 * place)) as usize & 15])
}

/// A message of a session, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The time of the event in milliseconds since 1970; before the year 10000.
    pub time_ms: u64,
    /// The session's id.
    pub session: u64,
    /// Its position in the session, 0 to 99.
    pub position: u8,
}

/// Encodes messages with or without the fields of their events.
#[derive(Clone, Debug)]
pub struct EventEncoder {
    tag: StreamTag,
    has_fields: bool,
    clock: ClockText,
}

impl EventEncoder {
    /// Returns an encoder for messages of the stream `tag`; `has_fields` is the setting EVENT_FIELDS.
    pub fn new(tag: StreamTag, has_fields: bool) -> Self {
        Self {
            tag,
            has_fields,
            clock: ClockText::default(),
        }
    }

    /// Appends a pageview by user `user_id` as one JSON object, without a line feed.
    #[inline]
    pub fn write_pageview_json(
        &mut self,
        (user_id, user_agent): (u64, UserAgent),
        pageview: &Pageview,
        event: Event,
        out: &mut TextBuf,
    ) {
        out.append(MOST_PAGEVIEW_BYTES + MOST_EVENT_BYTES, |out| {
            pageview.write_fields(user_id, user_agent, out);
            self.write_end(event, out);
        });
    }

    /// Appends a star rating by user `user_id` as one JSON object, without a line feed.
    pub fn write_stars_json(&mut self, user_id: u64, rating: StarRating, event: Event, out: &mut TextBuf) {
        out.append(MOST_STARS_BYTES + MOST_EVENT_BYTES, |out| {
            rating.write_fields(user_id, out);
            self.write_end(event, out);
        });
    }

    #[inline]
    fn write_end(&mut self, event: Event, out: &mut Cursor<'_>) {
        if self.has_fields {
            let EventId(id) = EventId::new(self.tag, event.session, event.position);
            out.push_str(",\"event_time\":\"");
            out.push_bytes(&self.clock.text(event.time_ms));
            out.push_str("\",\"session_id\":\"");
            out.push_padded::<SESSION_ID_LEN>(&id, SESSION_ID_LEN);
            out.push_str("\",\"event_id\":\"");
            out.push_bytes(&id);
            out.push_ascii(b'"');
        }
        out.push_ascii(b'}');
    }
}

/// Writes times as RFC 3339 in UTC with milliseconds. It keeps the text of the last minute, because the minute rarely
/// changes from one event to the next.
#[derive(Clone, Debug)]
pub struct ClockText {
    minute: u64,
    text: [u8; MINUTE_LEN],
}

impl Default for ClockText {
    fn default() -> Self {
        Self {
            minute: 0,
            text: *b"1970-01-01T00:00:",
        }
    }
}

impl ClockText {
    /// The time `time_ms`, in milliseconds since 1970 and before the year 10000: `2026-11-26T10:00:00.123Z`.
    #[inline]
    pub fn text(&mut self, time_ms: u64) -> [u8; EVENT_TIME_LEN] {
        let (minute, millis) = (time_ms / 60_000, (time_ms % 60_000) as u32);
        if minute != self.minute {
            self.set_minute(minute);
        }
        let digit = |number: u32| b'0' + (number % 10) as u8;
        let seconds = millis / 1_000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[..MINUTE_LEN].copy_from_slice(&self.text);
        text[17] = digit(seconds / 10);
        text[18] = digit(seconds);
        text[20] = digit(millis / 100);
        text[21] = digit(millis / 10);
        text[22] = digit(millis);
        text
    }

    #[cold]
    fn set_minute(&mut self, minute: u64) {
        let time = i64::try_from(minute * 60).expect("a time before the year 10000");
        self.text.copy_from_slice(&date_time(time, b'T')[..MINUTE_LEN]);
        self.minute = minute;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn ids_sort_as_their_numbers() {
        let tag = StreamTag::new(&[1, 2, 3]);
        let ids: Vec<_> = [(0, 0), (0, 9), (0, 10), (0, 30), (9, 0), (10, 0), (u64::MAX, 1)]
            .map(|(session, position)| EventId::new(tag, session, position))
            .into();
        assert!(ids.is_sorted_by(|a, b| a.event_id() < b.event_id()));
        let id = EventId::new(tag, 0xab, 7);
        assert_eq!(id.session_id(), format!("{}-00000000000000ab", tag.text()));
        assert_eq!(id.event_id(), format!("{}-07", id.session_id()));
        for other in [&[1, 2, 4][..], &[1, 2], &[1, 2, 3, 0], &[2, 1, 3]] {
            assert_ne!(StreamTag::new(other), tag);
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        let mut clock = ClockText::default();
        for time in [
            0,
            59_999,
            60_000,
            951_782_399_999,
            951_782_400_000,
            1_795_687_200_123,
            253_402_300_799_999,
        ] {
            let text = clock.text(time);
            let text = std::str::from_utf8(&text).unwrap();
            let parsed = DateTime::parse_from_rfc3339(text).unwrap();
            assert_eq!(parsed.timestamp_millis(), time as i64, "{text}");
            assert!(text.ends_with('Z') && text.len() == EVENT_TIME_LEN);
        }
    }
}
