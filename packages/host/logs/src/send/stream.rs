//! JSON lines and syslog, over TCP and TLS. Neither protocol has an answer, so a line counts as sent when the other host's
//! kernel has confirmed it; what a broken connection left unconfirmed is sent again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lepton_config::LogScheme;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{self, Meter};
use super::deliver::with_records;
use super::{Destination, End, LAST_WORDS, SendError, over};
use crate::buffer::{Item, Reader};
use crate::format::json::Json;
use crate::format::syslog::Syslog;

/// Bytes that may be unconfirmed.
const WINDOW: u64 = 1 << 20;
/// A destination that takes nothing for so long is connected to anew.
const STALL: Duration = Duration::from_secs(120);
/// Between two looks at what is confirmed, while nothing else happens.
const LOOK: Duration = Duration::from_millis(20);

/// What is under way.
#[derive(Debug)]
struct Flight {
    items: VecDeque<Sent>,
    confirmed: u64,
    moved: Instant,
}

/// An item that was written.
#[derive(Debug)]
struct Sent {
    item: Item,
    /// Bytes of the connection behind it.
    end: u64,
    /// Bytes of it, without TLS.
    bytes: u64,
}

impl Flight {
    /// Tells the buffer what the other host has.
    fn confirm(
        &mut self,
        destination: &Destination,
        meter: &Meter,
        reader: &mut Reader,
    ) -> Result<(), SendError> {
        let confirmed = meter.confirmed();
        if confirmed > self.confirmed || self.items.is_empty() {
            self.confirmed = confirmed.max(self.confirmed);
            self.moved = Instant::now();
        }
        while let Some(sent) = self.items.front().filter(|sent| sent.end <= self.confirmed) {
            destination.buffer.acked(&sent.item, reader, 0).map_err(SendError::Buffer)?;
            destination.figures.bytes.fetch_add(sent.bytes, Ordering::Relaxed);
            self.items.pop_front();
        }
        if self.moved.elapsed() > STALL {
            return Err(SendError::Stalled(STALL.as_secs()));
        }
        Ok(())
    }

    /// Whether more may be written.
    fn has_room(&self, meter: &Meter) -> bool {
        meter.written().saturating_sub(self.confirmed) < WINDOW
    }
}

/// One connection, from its beginning to its end.
pub(super) async fn session(destination: &Destination, end: &mut End) -> Result<Infallible, SendError> {
    let connection = tokio::select! {
        connection = connect::connect(destination) => connection?,
        () = over(end) => return Err(SendError::Over),
    };
    destination.connected();
    let meter = connection.meter;
    let (mut from, mut to) = tokio::io::split(connection.io);
    let mut reader = destination.buffer.reader();
    let mut flight = Flight { items: VecDeque::new(), confirmed: 0, moved: Instant::now() };
    let ended = async move {
        // A destination has nothing to say; its end is what counts.
        let mut ignored = [0; 1024];
        loop {
            match from.read(&mut ignored).await {
                Ok(0) => return SendError::Closed,
                Ok(_) => {}
                Err(error) => return SendError::Broken(error),
            }
        }
    };
    tokio::pin!(ended);
    let result = loop {
        if let Err(error) = flight.confirm(destination, &meter, &mut reader) {
            break error;
        }
        let has_room = flight.has_room(&meter);
        let next = if has_room { destination.buffer.next(&mut reader) } else { Ok(None) };
        let item = match next {
            Ok(item) => item,
            Err(error) => break SendError::Buffer(error),
        };
        let Some(item) = item else {
            let is_waiting = !flight.items.is_empty();
            tokio::select! {
                error = &mut ended => break error,
                () = destination.buffer.wait(), if has_room => {}
                () = sleep(LOOK), if is_waiting => {}
                () = over(end) => {
                    // RFC 5425 section 4.4: close_notify comes before the end of the connection.
                    let _ = timeout(LAST_WORDS, to.shutdown()).await;
                    break SendError::Over;
                }
            }
            continue;
        };
        let bytes = encode(destination, &item);
        tokio::select! {
            error = &mut ended => break error,
            written = write(&mut to, &bytes) => if let Err(error) = written { break error },
            // It is not whole, and is sent again.
            () = over(end) => break SendError::Over,
        }
        flight.items.push_back(Sent { item: lighten(item), end: meter.written(), bytes: bytes.len() as u64 });
    };
    // What came to the other host before the end need not be sent again.
    flight.confirm(destination, &meter, &mut reader)?;
    Err(result)
}

/// Writes all of it, as slowly as the destination likes.
async fn write(to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> Result<(), SendError> {
    while !bytes.is_empty() {
        let written = timeout(STALL, to.write(bytes)).await;
        match written.map_err(|_| SendError::Stalled(STALL.as_secs()))? {
            Ok(0) => return Err(SendError::Broken(io::ErrorKind::WriteZero.into())),
            Ok(count) => bytes = &bytes[count..],
            Err(error) => return Err(SendError::Broken(error)),
        }
    }
    let flushed = timeout(STALL, to.flush()).await;
    flushed.map_err(|_| SendError::Stalled(STALL.as_secs()))?.map_err(SendError::Broken)
}

/// What was written need not be kept: it is in the buffer until it is confirmed.
fn lighten(mut item: Item) -> Item {
    if let Item::Lines { frame, .. } = &mut item {
        *frame = Vec::new();
    }
    item
}

fn encode(destination: &Destination, item: &Item) -> Vec<u8> {
    let mut out = Vec::new();
    with_records(item, |speaker, records| {
        if destination.scheme == LogScheme::SyslogTls {
            let syslog = Syslog::new(speaker);
            let mut scratch = Vec::new();
            records.for_each(|record| syslog.push(&record, &mut scratch, &mut out));
        } else {
            let json = Json::new(speaker);
            records.for_each(|record| json.push(&record, &mut out));
        }
    });
    out
}
