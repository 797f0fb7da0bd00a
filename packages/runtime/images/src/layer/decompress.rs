//! Layers and archives as they are stored, gzip or zstd or plain, told apart by their first bytes: media types are often
//! wrong, the bytes are not.

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::metered::Exceeded;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 17;
const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// The content of a stream. `window` limits what zstd may ask for in memory.
pub(crate) fn decompressed<'a>(
    mut input: impl Read + Send + 'a,
    window: u64,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut magic = Vec::new();
    input.by_ref().take(4).read_to_end(&mut magic)?;
    let is_zstd = magic == ZSTD || matches!(magic[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
    let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
    let whole = io::Cursor::new(magic).chain(input);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, whole))),
        (_, true) => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(window);
            Box::new(Frames { input: BufReader::with_capacity(PIECE, whole), decoder, is_within: false })
        }
        _ => Box::new(whole),
    })
}

/// zstd frames one after another, with frames that are to be skipped among them.
struct Frames<R: Read> {
    input: BufReader<R>,
    decoder: FrameDecoder,
    is_within: bool,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.is_within && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, one).map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.is_within = false,
                count => return Ok(count),
            }
        }
        Ok(0)
    }
}

impl<R: Read> Frames<R> {
    /// Reads the head of the next frame; false at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => {
                    self.is_within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.input.by_ref().take(length), &mut io::sink())? != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, max }) => {
                    return Err(io::Error::other(Exceeded::Window { wanted: requested, limit: max }));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn content() -> Vec<u8> {
        (0..300_000_u32).flat_map(|number| (number % 1000).to_le_bytes()).collect()
    }

    fn check(stored: Vec<u8>, wanted: &[u8]) {
        let mut found = Vec::new();
        decompressed(&stored[..], 8 << 20).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == wanted, "{} bytes instead of {}", found.len(), wanted.len());
    }

    #[test]
    fn each_form() {
        let content = content();
        check(content.clone(), &content);
        check(Vec::new(), b"");
        check(b"ab".to_vec(), b"ab");
        let gzip = || {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&content).unwrap();
            writer.finish().unwrap()
        };
        check(gzip(), &content);
        check([gzip(), gzip()].concat(), &[&content[..], &content].concat());
        for level in [1, 3, 19] {
            check(zstd::encode_all(&content[..], level).unwrap(), &content);
        }
    }

    #[test]
    fn frames_of_zstd() {
        let content = content();
        let frame = zstd::encode_all(&content[..], 3).unwrap();
        let skipped = [&0x184d_2a53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        check([&skipped[..], &frame, &skipped, &frame].concat(), &[&content[..], &content].concat());
    }

    #[test]
    fn a_window_has_a_limit() {
        let mut writer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        writer.long_distance_matching(true).unwrap();
        writer.window_log(27).unwrap();
        writer.write_all(b"small").unwrap();
        let stored = writer.finish().unwrap();
        let error = decompressed(&stored[..], 8 << 20).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Exceeded>()), "{error}");
    }

    #[test]
    fn cut_streams_are_errors() {
        let content = content();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        for stored in [gzip.finish().unwrap(), zstd::encode_all(&content[..], 3).unwrap()] {
            let cut = &stored[..stored.len() / 2];
            assert!(decompressed(cut, 8 << 20).unwrap().read_to_end(&mut Vec::new()).is_err());
        }
    }
}
