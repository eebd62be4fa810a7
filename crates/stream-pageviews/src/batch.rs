//! Encoded messages in the order in which they are to be sent. Batches are recycled: refilling one reuses its memory.

use datagen_core::model::planted::SessionEffects;
use datagen_core::model::session::{Event, EventEncoder, OpenSession, SessionMessage, StreamTag};
use datagen_core::text::TextBuf;

use crate::message::{Message, Sending, Topic};

/// The number of messages at which a batch is full: enough to keep the cost per system call small, and few enough to
/// fit into the processor's cache.
const MAX_MESSAGES: usize = 1_024;

/// The position of a message in the sending order, which is unique within a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendKey {
    /// When the message is to be sent, in milliseconds since 1970.
    pub time_ms: u64,
    /// The session of the message.
    pub session: u64,
    /// The position of the message in the session.
    pub position: u8,
}

impl SendKey {
    /// Precedes all other keys.
    pub const FIRST: Self = Self {
        time_ms: 0,
        session: 0,
        position: 0,
    };

    /// Follows all other keys.
    pub const LAST: Self = Self {
        time_ms: u64::MAX,
        session: u64::MAX,
        position: u8::MAX,
    };
}

/// Messages in the order of their [`SendKey`]s.
#[derive(Debug)]
pub struct Batch {
    entries: Vec<Entry>,
    payloads: TextBuf,
    /// No message that follows this batch has a lower key.
    pub watermark: SendKey,
}

#[derive(Debug)]
struct Entry {
    key: SendKey,
    event_ms: u64,
    payload_end: u32,
    user_id: u32,
    effects: SessionEffects,
    topic: Topic,
    sending: Sending,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            entries: Vec::with_capacity(MAX_MESSAGES),
            payloads: TextBuf::default(),
            watermark: SendKey::FIRST,
        }
    }
}

impl Batch {
    /// Removes all messages and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.payloads.clear();
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether the batch is full, so that no more messages should be added.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MAX_MESSAGES
    }

    /// Adds `message`, which `session` has just made and which happened at `event_ms`, to be sent at `key`.
    #[inline]
    pub fn push(
        &mut self,
        (session, message): (&OpenSession, &SessionMessage),
        key: SendKey,
        event_ms: u64,
        sending: Sending,
        effects: SessionEffects,
        encoder: &mut EventEncoder,
    ) {
        let event = Event {
            time_ms: event_ms,
            session: key.session,
            position: key.position,
        };
        session.write_json(message, event, encoder, &mut self.payloads);
        self.entries.push(Entry {
            key,
            event_ms,
            payload_end: self.payloads.len() as u32,
            user_id: session.user_id() as u32,
            effects,
            topic: match message {
                SessionMessage::Pageview(_) => Topic::Pageviews,
                SessionMessage::Stars(_) => Topic::Stars,
            },
            sending,
        });
    }

    /// Returns the key of the message at `index`, or `None` if there is no such message.
    pub fn key(&self, index: usize) -> Option<SendKey> {
        self.entries.get(index).map(|entry| entry.key)
    }

    /// Returns the message at `index`, which belongs to the stream `tag`.
    ///
    /// # Panics
    /// If `index` is out of bounds.
    #[inline]
    pub fn message(&self, index: usize, tag: StreamTag) -> Message<'_> {
        let entry = &self.entries[index];
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].payload_end);
        Message {
            topic: entry.topic,
            sending: entry.sending,
            user_id: u64::from(entry.user_id),
            payload: &self.payloads.as_bytes()[start as usize..entry.payload_end as usize],
            event: Event {
                time_ms: entry.event_ms,
                session: entry.key.session,
                position: entry.key.position,
            },
            tag,
            effects: entry.effects,
        }
    }

    /// Returns all messages, which belong to the stream `tag`.
    pub fn messages(&self, tag: StreamTag) -> Vec<Message<'_>> {
        (0..self.len()).map(|index| self.message(index, tag)).collect()
    }
}
