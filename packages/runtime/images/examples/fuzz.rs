//! Gives the parsers of hostile input bytes that nobody would write: `fuzz TARGET SECONDS [SEED]`, where the target is
//! `reference`, `document` or `layer`. Seeds are changed at random; the numbers of a run are the same for the same seed.
#![expect(clippy::print_stdout, reason = "a tool of developers with a terminal")]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lepton_runtime_images::fuzz;

/// What the parsers look for.
const WORDS: &[&[u8]] = &[
    b"..",
    b"/",
    b".wh.",
    b".wh..wh..opq",
    b"\0",
    b"path=",
    b"linkpath=",
    b"../",
    b"sha256:",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"null",
    b"manifests",
    b"layers",
    b"config",
    b"diff_ids",
    b"18446744073709551616",
    b"-1",
    b"\x80\0\0\0",
    b"@",
    b":",
    b"lib",
    b"usr/lib",
    b"link",
    b"a",
    b"27 SCHILY.xattr.user.a=bcdef\n",
];

/// Where the fields of a tar header are: name, mode, user, size, time, type, link, prefix.
const FIELDS: &[(usize, usize)] =
    &[(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)];

/// xorshift: good enough, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap_or(0) % below.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.0.to_le_bytes()[self.roll(8)]
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (target, seconds) = (words[0].as_str(), words[1].parse().expect("seconds"));
    let seed = words.get(2).map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().expect("a number"));
    let (mut dice, end) = (Dice(seed), Instant::now() + Duration::from_secs(seconds));
    // It stays when something panics.
    let dir = tempfile::tempdir().expect("a temporary folder").keep();
    let (lower, scratch) = (dir.join("lower"), dir.join("scratch"));
    std::fs::create_dir_all(lower.join("usr/lib")).expect("a folder");
    std::fs::create_dir(&scratch).expect("a folder");
    std::os::unix::fs::symlink("usr/lib", lower.join("lib")).expect("a link");
    std::fs::write(lower.join("usr/lib/a"), "a").expect("a file");
    let mut corpus = match target {
        "reference" => references(),
        "document" => documents(),
        "layer" => vec![archive(), compressed(&archive())],
        other => panic!("no target {other:?}"),
    };
    let (mut runs, first) = (0_u64, corpus.len());
    while Instant::now() < end {
        let mut input = corpus[dice.roll(corpus.len())].clone();
        for _ in 0..=dice.roll(6) {
            change(&mut input, &mut dice, target == "layer");
        }
        input.truncate(1 << 16);
        // The last input is there to be looked at then.
        std::fs::write(dir.join("input"), &input).expect("a file");
        run(target, &input, &lower, &scratch);
        runs += 1;
        // Changed inputs are changed further.
        if dice.roll(20) == 0 {
            let place = first + dice.roll(200);
            if place < corpus.len() { corpus[place] = input } else { corpus.push(input) }
        }
    }
    std::fs::remove_dir_all(&dir).expect("a folder that can be removed");
    println!("{target}: {runs} inputs in {seconds} s, seed {seed}, no crash");
}

fn run(target: &str, input: &[u8], lower: &Path, scratch: &Path) {
    match target {
        "reference" => fuzz::reference(input),
        "document" => fuzz::document(input),
        _ => fuzz::layer(input, lower, scratch),
    }
}

fn change(input: &mut Vec<u8>, dice: &mut Dice, is_archive: bool) {
    let at = dice.roll(input.len() + 1);
    match dice.roll(if is_archive { 10 } else { 6 }) {
        0 if at < input.len() => input[at] ^= 1 << dice.roll(8),
        1 if at < input.len() => input[at] = dice.byte(),
        2 => drop(input.splice(at..at, WORDS[dice.roll(WORDS.len())].iter().copied())),
        3 => {
            let end = (at + dice.roll(20)).min(input.len());
            input.drain(at..end);
        }
        4 => {
            let end = (at + dice.roll(64)).min(input.len());
            let piece = input[at..end].to_vec();
            let place = dice.roll(input.len() + 1);
            input.splice(place..place, piece);
        }
        5 => input.truncate(at),
        6 | 7 if input.len() >= 512 => {
            // A field of a header gets a word or noise.
            let block = dice.roll(input.len() / 512) * 512;
            let (offset, length) = FIELDS[dice.roll(FIELDS.len())];
            let word = match dice.roll(3) {
                0 => vec![b"0123456789gxLK7SX\0"[dice.roll(18)]],
                1 => WORDS[dice.roll(WORDS.len())].to_vec(),
                _ => (0..length).map(|_| dice.byte()).collect(),
            };
            let length = word.len().min(length);
            input[block + offset..block + offset + length].copy_from_slice(&word[..length]);
        }
        8 if input.len() >= 1024 => {
            // Blocks change places.
            let (one, two) = (dice.roll(input.len() / 512) * 512, dice.roll(input.len() / 512) * 512);
            let block = input[one..one + 512].to_vec();
            input.splice(two..two, block);
        }
        _ => {}
    }
    if is_archive {
        input.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar").for_each(mend);
    }
}

/// A right checksum, so that what comes after it is reached.
fn mend(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn references() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    ["busybox", "docker.io/library/a:b", "[::1]:5000/a/b-c__d.e:v1.2_3", "localhost/x"]
        .iter()
        .flat_map(|name| [name.as_bytes().to_vec(), format!("{name}@{digest}").into_bytes()])
        .collect()
}

fn documents() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let blob = |kind: &str| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":7}}"#)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}],"annotations":{{"a":"b"}}}}"#,
        blob("config.v1+json"),
        blob("layer.v1.tar+gzip")
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","size":7,"platform":{{"os":"linux","architecture":"amd64","variant":"v1"}}}}]}}"#
    );
    let configuration = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":"a","Env":null,"Volumes":{{"/a":{{}}}}}},"rootfs":{{"diff_ids":["{digest}","{digest}"]}}}}"#
    );
    [manifest, index, configuration].map(String::into_bytes).to_vec()
}

/// One entry of each kind, on top of a layer with a link.
fn archive() -> Vec<u8> {
    let mut writer = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1);
        header.set_uid(0);
        header.set_gid(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        writer.append(&header, content).expect("a vector");
    };
    use tar::EntryType as Kind;
    add(Kind::Directory, "./", "", b"");
    add(Kind::Regular, "lib/b", "", b"content");
    add(Kind::XHeader, "x", "", b"12 path=a/b\n27 SCHILY.xattr.user.a=bcdef\n");
    add(Kind::Regular, "a", "", b"1");
    add(Kind::Symlink, "link", "../../lib", b"");
    add(Kind::Regular, "link/c", "", b"2");
    add(Kind::Link, "hard", "usr/lib/a", b"");
    add(Kind::Regular, "usr/.wh.lib", "", b"");
    add(Kind::Regular, "a/.wh..wh..opq", "", b"");
    add(Kind::Fifo, "pipe", "", b"");
    add(Kind::GNULongName, "L", "", b"long/name\0");
    add(Kind::Directory, "d", "", b"");
    writer.into_inner().expect("a vector")
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("a vector");
    writer.finish().expect("a vector")
}
