//! The message channel of VMware's hypervisor (RPCI), over calls with six registers.
//!
//! A request is: open a channel; tell a size, then the text in pieces of four bytes; ask for the reply's size, then its
//! pieces, each acknowledged; close. Register names are those of x86; what makes a call is behind [`Port`].

/// In eax of every call.
pub(super) const MAGIC: u32 = 0x564d_5868;
/// Low half of edx.
pub(super) const PORT: u32 = 0x5658;

/// Low half of ecx: the call is about a message channel.
const MESSAGE: u32 = 30;
/// In ebx of the first call: the protocol, and the wish for a cookie that keeps other programs of the guest out.
const RPCI_WITH_COOKIE: u32 = u32::from_le_bytes(*b"RPCI") | 1 << 31;

/// Steps of a conversation: high half of ecx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open = 0,
    SendSize = 1,
    SendPiece = 2,
    ReceiveSize = 3,
    ReceivePiece = 4,
    ReceiveStatus = 5,
    Close = 6,
}

/// High half of ecx after a call.
const SUCCESS: u16 = 1;
/// There is a reply to fetch.
const HAS_REPLY: u16 = 2;
/// The virtual machine was moved or restored meanwhile, and the conversation is to be repeated.
const CHECKPOINT: u16 = 0x10;

/// A machine that is moved again and again gets no answer.
const ATTEMPTS: usize = 3;
/// The longest reply: a config with the digit before it, and as much again for base64.
const MAX_REPLY: usize = 2 * lepton_config::MAX_BYTES;

/// The registers of a call, before and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) eax: u32,
    pub(super) ebx: u32,
    pub(super) ecx: u32,
    pub(super) edx: u32,
    pub(super) esi: u32,
    pub(super) edi: u32,
}

impl Registers {
    fn status(self) -> u16 {
        high(self.ecx)
    }
}

/// What makes a call.
pub(super) trait Port {
    /// Hands the registers to the hypervisor and gives them back as it left them.
    fn call(&mut self, registers: Registers) -> Registers;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RpcError {
    #[error("the hypervisor refused the step {0}")]
    Refused(&'static str),
    #[error("the hypervisor answered with {0} bytes, more than a config may have")]
    TooLarge(usize),
    #[error("the machine was moved during every attempt")]
    Moved,
    #[error("the answer is in no known form")]
    Form,
}

/// A channel while it is open.
#[derive(Clone, Copy, Debug)]
struct Channel {
    id: u16,
    cookie_high: u32,
    cookie_low: u32,
}

/// What ends an attempt early.
enum Stop {
    Error(RpcError),
    Again,
}

/// Asks the hypervisor for values.
#[derive(Debug)]
pub(super) struct Rpc<P>(P);

impl<P: Port> Rpc<P> {
    pub(super) fn new(port: P) -> Self {
        Self(port)
    }

    /// The value of a guestinfo key; `None` when it is not set.
    pub(super) fn info_get(&mut self, key: &str) -> Result<Option<Vec<u8>>, RpcError> {
        let reply = self.request(format!("info-get {key}").as_bytes())?;
        // `1 VALUE`, or `0 REASON`, which for this request means that there is no such key.
        match reply.as_slice() {
            [b'1'] => Ok(Some(Vec::new())),
            [b'1', b' ', value @ ..] => Ok(Some(value.to_vec())),
            [b'0', ..] => Ok(None),
            _ => Err(RpcError::Form),
        }
    }

    fn request(&mut self, text: &[u8]) -> Result<Vec<u8>, RpcError> {
        for _ in 0..ATTEMPTS {
            let channel = self.open()?;
            let result = self.converse(channel, text);
            // Its answer changes nothing: the hypervisor drops a channel that is not used.
            self.step(channel, Step::Close, 0);
            match result {
                Ok(reply) => return Ok(reply),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Again) => {}
            }
        }
        Err(RpcError::Moved)
    }

    fn open(&mut self) -> Result<Channel, RpcError> {
        let none = Channel { id: 0, cookie_high: 0, cookie_low: 0 };
        let answer = self.step(none, Step::Open, RPCI_WITH_COOKIE);
        match answer.status() & SUCCESS {
            0 => Err(RpcError::Refused("open")),
            _ => Ok(Channel { id: high(answer.edx), cookie_high: answer.esi, cookie_low: answer.edi }),
        }
    }

    fn converse(&mut self, channel: Channel, text: &[u8]) -> Result<Vec<u8>, Stop> {
        let length = u32::try_from(text.len()).map_err(|_| Stop::Error(RpcError::TooLarge(text.len())))?;
        self.good(channel, Step::SendSize, length)?;
        for piece in text.chunks(4) {
            let mut bytes = [0; 4];
            bytes[..piece.len()].copy_from_slice(piece);
            self.good(channel, Step::SendPiece, u32::from_le_bytes(bytes))?;
        }
        let answer = self.good(channel, Step::ReceiveSize, 0)?;
        if answer.status() & HAS_REPLY == 0 {
            return Ok(Vec::new());
        }
        // The high half of edx says what the hypervisor is doing: it sends a size.
        if high(answer.edx) != Step::SendSize as u16 {
            return Err(Stop::Error(RpcError::Form));
        }
        let length = usize::try_from(answer.ebx).unwrap_or(usize::MAX);
        if length > MAX_REPLY {
            return Err(Stop::Error(RpcError::TooLarge(length)));
        }
        let mut reply = Vec::with_capacity(length);
        while reply.len() < length {
            let answer = self.good(channel, Step::ReceivePiece, u32::from(SUCCESS))?;
            if high(answer.edx) != Step::SendPiece as u16 {
                return Err(Stop::Error(RpcError::Form));
            }
            let left = length - reply.len();
            reply.extend_from_slice(&answer.ebx.to_le_bytes()[..left.min(4)]);
        }
        self.good(channel, Step::ReceiveStatus, u32::from(SUCCESS))?;
        Ok(reply)
    }

    /// A step that must succeed.
    fn good(&mut self, channel: Channel, step: Step, value: u32) -> Result<Registers, Stop> {
        let answer = self.step(channel, step, value);
        let status = answer.status();
        if status & SUCCESS != 0 {
            Ok(answer)
        } else if status & CHECKPOINT != 0 {
            Err(Stop::Again)
        } else {
            Err(Stop::Error(RpcError::Refused(step.name())))
        }
    }

    fn step(&mut self, channel: Channel, step: Step, value: u32) -> Registers {
        self.0.call(Registers {
            eax: MAGIC,
            ebx: value,
            ecx: (step as u32) << 16 | MESSAGE,
            edx: u32::from(channel.id) << 16 | PORT,
            esi: channel.cookie_high,
            edi: channel.cookie_low,
        })
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::SendSize => "send size",
            Self::SendPiece => "send",
            Self::ReceiveSize => "receive size",
            Self::ReceivePiece => "receive",
            Self::ReceiveStatus => "receive status",
            Self::Close => "close",
        }
    }
}

fn high(register: u32) -> u16 {
    let [_, _, low, high] = register.to_le_bytes();
    u16::from_le_bytes([low, high])
}
