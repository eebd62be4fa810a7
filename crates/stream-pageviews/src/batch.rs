//! Encoded messages in the order in which they are to be sent. Batches are recycled: filling one again keeps its memory.

use datagen_core::model::planted::SessionEffects;
use datagen_core::model::session::{Event, EventEncoder, OpenSession, SessionMessage, StreamTag};
use datagen_core::text::TextBuf;

use crate::message::{Message, Sending, Topic};

/// A batch with so many messages is full: enough for one system call to be cheap, and few enough for the processor's
/// cache.
const MAX_MESSAGES: usize = 1_024;

/// The place of a message in the order of sending, which no two messages of a stream share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendKey {
    /// When it is to be sent, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its session.
    pub session: u64,
    /// Its place in the session.
    pub position: u8,
}

impl SendKey {
    /// Before all others.
    pub const FIRST: Self = Self {
        time_ms: 0,
        session: 0,
        position: 0,
    };

    /// After all others.
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
    /// Forgets the messages.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.payloads.clear();
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether no more messages should be added.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MAX_MESSAGES
    }

    /// Adds `message`, which `session` made last and which happened at `event_ms`, to be sent at `key`.
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

    /// The key of the message at `index`, if there are so many.
    pub fn key(&self, index: usize) -> Option<SendKey> {
        self.entries.get(index).map(|entry| entry.key)
    }

    /// The message at `index`, of the stream `tag`.
    ///
    /// # Panics
    /// If there are not so many.
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

    /// All messages, of the stream `tag`.
    pub fn messages(&self, tag: StreamTag) -> Vec<Message<'_>> {
        (0..self.len()).map(|index| self.message(index, tag)).collect()
    }
}
