//! Records that are made on several threads and consumed in the order of their ids, in constant memory.
//!
//! The number of buffers is fixed. A thread takes a free buffer, then the next range of ids, fills the buffer and sends it
//! to the consumer; when the consumer drops the block, the buffer is free again. A thread takes a range only after it has a
//! buffer, so the next block in order is always being made, and there is no deadlock.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use bytes::Bytes;

use datagen_core::text::TextBuf;

/// How the work is divided.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    /// The ids to make.
    pub ids: Range<u64>,
    /// The number of ids per block; the last block may have fewer.
    pub ids_per_block: u64,
    /// The number of threads, if [`memory`](Self::memory) allows as many.
    pub threads: NonZeroUsize,
    /// The maximum number of blocks that the consumer holds. Memory is needed for those, and for one more per thread.
    pub held_by_consumer: usize,
    /// The approximate size of a block in bytes.
    pub expected_bytes: usize,
    /// The approximate limit for the size of all blocks together, in bytes. There is always one thread, even if that
    /// needs more.
    pub memory: usize,
}

impl BlockPlan {
    /// Returns the number of threads for `blocks` blocks.
    fn threads(&self, blocks: usize) -> usize {
        let fit = (self.memory / self.expected_bytes.max(1)).saturating_sub(self.held_by_consumer);
        self.threads.get().min(fit.max(1)).min(blocks)
    }
}

/// A block of encoded records.
#[derive(Clone, Debug)]
pub struct Block {
    /// The ids of the records.
    pub ids: Range<u64>,
    /// The encoded records. The buffer returns to the threads when the last clone is dropped.
    pub bytes: Bytes,
}

/// Blocks in the order of their ids. Dropping it ends the threads.
#[derive(Debug)]
pub struct Blocks {
    /// The blocks as they are finished, or the panic that ended a thread.
    finished: tokio::sync::mpsc::UnboundedReceiver<thread::Result<Block>>,
    /// Blocks that were finished out of order, by their first id.
    waiting: BTreeMap<u64, Block>,
    next_id: u64,
    end: u64,
}

/// Starts the threads. `encode` appends the records of a range of ids to a buffer.
///
/// # Errors
/// If not even one thread can be started. With fewer threads than planned, the blocks are the same.
pub fn start<F>(plan: BlockPlan, encode: F) -> io::Result<Blocks>
where
    F: Fn(Range<u64>, &mut TextBuf) + Send + Sync + 'static,
{
    let blocks = (plan.ids.end - plan.ids.start).div_ceil(plan.ids_per_block);
    let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
    let threads = plan.threads(blocks);
    let BlockPlan {
        ids,
        ids_per_block,
        held_by_consumer,
        expected_bytes,
        ..
    } = plan;
    let (give_back, free) = mpsc::channel();
    for _ in 0..(threads + held_by_consumer).min(blocks) {
        give_back
            .send(TextBuf::with_capacity(expected_bytes))
            .expect("the receiver is alive");
    }
    let shared = Arc::new(WorkQueue {
        free: Mutex::new(free),
        next: AtomicU64::new(ids.start),
    });
    let encode = Arc::new(encode);
    let (hand_over, finished) = tokio::sync::mpsc::unbounded_channel();
    for started in 0..threads {
        let (shared, encode) = (Arc::clone(&shared), Arc::clone(&encode));
        let (give_back, hand_over) = (give_back.clone(), hand_over.clone());
        let work = move || {
            while let Some((mut buffer, ids)) = shared.take(ids_per_block, ids.end) {
                buffer.clear();
                let encoded = catch_unwind(AssertUnwindSafe(|| encode(ids.clone(), &mut buffer)));
                let give_back = give_back.clone();
                let block = encoded.map(|()| Block {
                    ids,
                    bytes: Bytes::from_owner(Lent { buffer, give_back }),
                });
                if hand_over.send(block).is_err() {
                    return;
                }
            }
        };
        match thread::Builder::new().name("encoder".to_owned()).spawn(work) {
            Ok(_) => {}
            Err(error) if started == 0 => return Err(error),
            Err(error) => {
                tracing::warn!("records are made by {started} threads instead of {threads}: {error}");
                break;
            }
        }
    }
    Ok(Blocks {
        finished,
        waiting: BTreeMap::new(),
        next_id: ids.start,
        end: ids.end,
    })
}

impl Blocks {
    /// Returns the next block; `None` after the last.
    ///
    /// # Panics
    /// If a thread panicked, with its panic.
    pub async fn next(&mut self) -> Option<Block> {
        if self.next_id >= self.end {
            return None;
        }
        loop {
            if let Some(block) = self.waiting.remove(&self.next_id) {
                self.next_id = block.ids.end;
                return Some(block);
            }
            let finished = self.finished.recv().await;
            let block = finished
                .expect("the threads end only after the last block")
                .unwrap_or_else(|panic| resume_unwind(panic));
            self.waiting.insert(block.ids.start, block);
        }
    }
}

struct WorkQueue {
    free: Mutex<mpsc::Receiver<TextBuf>>,
    next: AtomicU64,
}

impl WorkQueue {
    /// Returns a free buffer and the next range; `None` when all ranges are taken.
    fn take(&self, ids_per_block: u64, end: u64) -> Option<(TextBuf, Range<u64>)> {
        let free = self.free.lock().expect("no thread panics while it waits");
        if self.next.load(Ordering::Relaxed) >= end {
            return None;
        }
        let buffer = free.recv().ok()?;
        let start = self.next.fetch_add(ids_per_block, Ordering::Relaxed);
        Some((buffer, start..start.saturating_add(ids_per_block).min(end)))
    }
}

/// A buffer that the consumer holds. Dropping it returns the buffer to the threads.
struct Lent {
    buffer: TextBuf,
    give_back: mpsc::Sender<TextBuf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // If the threads have ended, the buffer is no longer needed.
        let _ = self.give_back.send(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(ids: Range<u64>, ids_per_block: u64, threads: usize) -> (Vec<u8>, usize) {
        let threads = NonZeroUsize::new(threads).unwrap();
        let plan = BlockPlan {
            ids,
            ids_per_block,
            threads,
            held_by_consumer: 1,
            expected_bytes: 16,
            memory: 1 << 20,
        };
        let mut blocks = start(plan, |range, out| {
            for id in range {
                out.append(32, |out| {
                    out.push_number(id);
                    out.push_ascii(b'\n');
                });
            }
        })
        .unwrap();
        let (mut all, mut count) = (Vec::new(), 0);
        while let Some(block) = blocks.next().await {
            all.extend_from_slice(&block.bytes);
            count += 1;
        }
        (all, count)
    }

    #[tokio::test]
    async fn blocks_come_in_order_whatever_the_threads() {
        let expected: String = (5..1_000).map(|id| format!("{id}\n")).collect();
        for threads in [1, 2, 4] {
            for ids_per_block in [1, 7, 995, 5_000] {
                let (all, count) = collect(5..1_000, ids_per_block, threads).await;
                assert_eq!(String::from_utf8(all).unwrap(), expected);
                assert_eq!(count as u64, 995_u64.div_ceil(ids_per_block));
            }
        }
        assert_eq!(collect(3..3, 10, 2).await, (Vec::new(), 0));
    }

    #[test]
    fn memory_bounds_the_threads() {
        let plan = |threads, held_by_consumer, expected_bytes| BlockPlan {
            ids: 0..1_000,
            ids_per_block: 1,
            threads: NonZeroUsize::new(threads).unwrap(),
            held_by_consumer,
            expected_bytes,
            memory: 96 << 20,
        };
        assert_eq!(plan(64, 13, 4 << 20).threads(1_000), 11);
        assert_eq!(plan(8, 13, 4 << 20).threads(1_000), 8);
        assert_eq!(plan(64, 2, 1 << 20).threads(1_000), 64);
        assert_eq!(plan(64, 13, 4 << 20).threads(3), 3);
        assert_eq!(plan(64, 3, 100 << 20).threads(1_000), 1);
        assert_eq!(plan(64, 13, 4 << 20).threads(0), 0);
    }

    #[tokio::test]
    async fn a_taker_that_leaves_ends_the_threads() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let threads = NonZeroUsize::new(2).unwrap();
        let plan = BlockPlan {
            ids: 0..u64::MAX,
            ids_per_block: 10,
            threads,
            held_by_consumer: 2,
            expected_bytes: 16,
            memory: 1 << 20,
        };
        let mut blocks = start(plan, move |_, out| {
            let _ = &held;
            out.append(1, |out| out.push_ascii(b'x'));
        })
        .unwrap();
        blocks.next().await.unwrap();
        drop(blocks);
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_thread_goes_on_in_the_taker() {
        let plan = BlockPlan {
            ids: 0..1_000,
            ids_per_block: 10,
            threads: NonZeroUsize::new(2).unwrap(),
            held_by_consumer: 2,
            expected_bytes: 16,
            memory: 1 << 20,
        };
        let mut blocks = start(plan, |ids, _| assert!(!ids.contains(&55), "planted")).unwrap();
        let taker = tokio::spawn(async move { while blocks.next().await.is_some() {} });
        let panic = taker.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"planted"));
    }
}
