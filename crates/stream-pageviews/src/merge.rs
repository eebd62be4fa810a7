//! Merges the batches of several workers into one sending order.

use std::collections::VecDeque;

use datagen_core::model::session::StreamTag;
use tokio::sync::mpsc;

use crate::batch::{Batch, SendKey};
use crate::message::{Message, Sending};

/// The batches of all workers that have not been sent yet.
#[derive(Debug)]
pub struct Merge {
    workers: Vec<Received>,
    tag: StreamTag,
    /// The time of [`Merge::cut_off`], in milliseconds since 1970.
    cut_off_ms: Option<u64>,
}

/// What was received from one worker.
#[derive(Debug)]
struct Received {
    /// The batches, oldest first. None of them is empty.
    batches: VecDeque<Batch>,
    /// How many messages of the first batch have been dealt with.
    done: usize,
    watermark: SendKey,
    /// Where batches are returned to after they have been sent.
    recycle: mpsc::Sender<Batch>,
}

/// Messages that are ready to be sent, and how far they reach into the batches of each worker.
#[derive(Debug)]
pub struct Ready<'a> {
    /// The messages, in sending order.
    pub messages: Vec<Message<'a>>,
    /// When the last of the messages is due.
    pub time_ms: u64,
    /// The position after the last of the messages, by worker.
    pub cursors: Vec<BatchCursor>,
}

/// A position in the batches of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCursor {
    batch: usize,
    message: usize,
}

impl Merge {
    /// Creates a merge of the stream `tag`. There is one worker for each channel in `recycle`, to which its batches
    /// return.
    pub fn new(recycle: Vec<mpsc::Sender<Batch>>, tag: StreamTag) -> Self {
        let received = |recycle| Received {
            batches: VecDeque::new(),
            done: 0,
            watermark: SendKey::FIRST,
            recycle,
        };
        Self {
            workers: recycle.into_iter().map(received).collect(),
            tag,
            cut_off_ms: None,
        }
    }

    /// Takes the next batch of `worker`.
    pub fn add(&mut self, worker: usize, batch: Batch) {
        let worker = &mut self.workers[worker];
        worker.watermark = batch.watermark;
        if batch.is_empty() {
            worker.recycle(batch);
        } else {
            worker.batches.push_back(batch);
        }
    }

    /// Returns the key before which all messages have been received or sent.
    pub fn watermark(&self) -> SendKey {
        let watermarks = self.workers.iter().map(|worker| worker.watermark);
        watermarks.min().unwrap_or(SendKey::LAST)
    }

    /// Returns the key before which everything has been sent.
    pub fn sent_until(&self) -> SendKey {
        let first = |worker: &Received| worker.batches.front()?.key(worker.done);
        let unsent = self.workers.iter().filter_map(first);
        unsent.chain([self.watermark()]).min().unwrap_or(SendKey::LAST)
    }

    /// Restricts what is sent from now on to what has happened by `time_ms`: messages due by then, and late messages
    /// whose events happened by then.
    pub fn cut_off(&mut self, time_ms: u64) {
        self.cut_off_ms = Some(time_ms);
    }

    /// Returns up to `most` messages that no future message can precede.
    pub fn ready(&self, most: usize) -> Ready<'_> {
        let limit = self.watermark();
        let mut cursors: Vec<_> = self
            .workers
            .iter()
            .map(|worker| BatchCursor {
                batch: 0,
                message: worker.done,
            })
            .collect();
        let mut messages = Vec::with_capacity(most);
        let mut time_ms = 0;
        while messages.len() < most {
            let heads = self.workers.iter().zip(&cursors).enumerate();
            let first = heads
                .filter_map(|(index, (worker, cursor))| {
                    let key = worker.batches.get(cursor.batch)?.key(cursor.message)?;
                    (key < limit).then_some((key, index))
                })
                .min();
            let Some((key, index)) = first else { break };
            let (worker, cursor) = (&self.workers[index], &mut cursors[index]);
            let batch = &worker.batches[cursor.batch];
            let message = batch.message(cursor.message, self.tag);
            cursor.message += 1;
            if cursor.message == batch.len() {
                *cursor = BatchCursor {
                    batch: cursor.batch + 1,
                    message: 0,
                };
            }
            time_ms = key.time_ms;
            if self.is_wanted(key, &message) {
                messages.push(message);
            }
        }
        Ready {
            messages,
            time_ms,
            cursors,
        }
    }

    fn is_wanted(&self, key: SendKey, message: &Message<'_>) -> bool {
        self.cut_off_ms.is_none_or(|cut_off| match message.sending {
            Sending::Late => message.event.time_ms <= cut_off,
            _ => key.time_ms <= cut_off,
        })
    }

    /// Drops the messages before `cursors`, and returns their batches to the workers.
    pub fn forget(&mut self, cursors: &[BatchCursor]) {
        for (worker, cursor) in self.workers.iter_mut().zip(cursors) {
            for batch in worker.batches.drain(..cursor.batch).collect::<Vec<_>>() {
                worker.recycle(batch);
            }
            worker.done = cursor.message;
        }
    }
}

impl Received {
    fn recycle(&self, mut batch: Batch) {
        batch.clear();
        // A worker that has ended needs no more batches.
        let _ = self.recycle.try_send(batch);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datagen_core::model::session::DeliveryFaults;

    use super::*;
    use crate::message::testing;
    use crate::schedule::{Schedule, StreamPlan};

    fn plan() -> StreamPlan {
        let plan = testing::plan();
        StreamPlan {
            sources: 7,
            faults: DeliveryFaults::new(1, 5, 5),
            end_ms: Some(plan.start_ms + 3_600_000),
            ..plan
        }
    }

    /// Returns what several workers send. Their batches are added in turns, or one worker after the other as far as
    /// possible.
    fn merged(workers: u64, most: usize, cut_off_ms: Option<u64>) -> Vec<Vec<u8>> {
        let plan = Arc::new(plan());
        let (recycle, mut recycled): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(2)).unzip();
        for recycle in &recycle {
            recycle.try_send(Batch::default()).unwrap();
            recycle.try_send(Batch::default()).unwrap();
        }
        let mut merge = Merge::new(recycle, plan.tag);
        if let Some(time_ms) = cut_off_ms {
            merge.cut_off(time_ms);
        }
        let mut schedules: Vec<_> = (0..workers)
            .map(|worker| Schedule::new(Arc::clone(&plan), (worker..7).step_by(workers as usize)))
            .collect();
        let mut sent = Vec::new();
        let mut is_ended = vec![false; workers as usize];
        while !is_ended.iter().all(|ended| *ended) {
            let mut is_stuck = true;
            for (index, schedule) in schedules.iter_mut().enumerate() {
                // As in a stream, a worker waits until one of its batches is returned.
                while !is_ended[index]
                    && let Ok(mut batch) = recycled[index].try_recv()
                {
                    schedule.fill(&mut batch, u64::MAX);
                    merge.add(index, batch);
                    is_ended[index] = schedule.next_key().is_none();
                    is_stuck = false;
                }
            }
            assert!(!is_stuck, "no worker gets a batch back");
            loop {
                let Ready {
                    messages, cursors, ..
                } = merge.ready(most);
                let count = messages.len();
                assert!(count <= most);
                sent.extend(messages.iter().map(|message| message.payload.to_vec()));
                drop(messages);
                merge.forget(&cursors);
                if count == 0 {
                    break;
                }
            }
        }
        assert_eq!(merge.sent_until(), SendKey::LAST);
        sent
    }

    #[test]
    fn any_number_of_workers_sends_the_same_in_the_same_order() {
        let expected = merged(1, 1_024, None);
        assert!(expected.len() > 10_000);
        for (workers, most) in [(2, 1_024), (3, 10), (7, 1_000)] {
            assert!(merged(workers, most, None) == expected, "{workers} workers");
        }
    }

    #[test]
    fn nothing_that_happened_after_the_cut_off_is_sent() {
        let plan = plan();
        let cut_off_ms = plan.start_ms + 600_000;
        let mut expected = Vec::new();
        let mut schedule = Schedule::new(Arc::new(plan.clone()), 0..7);
        let mut batch = Batch::default();
        while schedule.next_key().is_some() {
            batch.clear();
            schedule.fill(&mut batch, u64::MAX);
            for (index, message) in batch.messages(plan.tag).iter().enumerate() {
                let is_due = batch.key(index).unwrap().time_ms <= cut_off_ms;
                if is_due || (message.sending == Sending::Late && message.event.time_ms <= cut_off_ms) {
                    expected.push(message.payload.to_vec());
                }
            }
        }
        assert!(!expected.is_empty());
        assert!(merged(3, 100, Some(cut_off_ms)) == expected);
    }
}
