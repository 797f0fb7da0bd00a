//! A reader that follows the stream's markers, and one that follows the footer.

#![expect(clippy::cast_possible_truncation, reason = "offsets in small test files")]

use expect_test::expect;
use flate2::{Decompress, FlushDecompress};

use super::*;
use crate::blocks::tests::noise;

fn sample() -> Sparse {
    let mut image = Sparse::new(100 << 20);
    image.put(512, b"some words that repeat, ".repeat(5_000));
    image.put(40 << 20, noise(70_000));
    image.put(50 << 20, vec![0; 1 << 20]);
    image.put((100 << 20) - 1, vec![1]);
    image
}

fn written(image: &Sparse) -> (Vec<u8>, Stats) {
    let mut file = Vec::new();
    let stats = write(image, &Seed::new([7; 32]), &mut file).unwrap();
    (file, stats)
}

fn le(file: &[u8], offset: usize, len: usize) -> u64 {
    file[offset..offset + len].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn inflate(file: &[u8], grain: usize) -> Vec<u8> {
    let size = le(file, grain + 8, 4) as usize;
    let mut bytes = Vec::with_capacity(GRAIN);
    let deflated = &file[grain + 12..grain + 12 + size];
    Decompress::new(true).decompress_vec(deflated, &mut bytes, FlushDecompress::Finish).unwrap();
    bytes
}

#[test]
fn stream_reads_back() {
    let image = sample();
    let (file, stats) = written(&image);
    let mut at = OVERHEAD_SECTORS as usize * SECTOR;
    let mut seen = Vec::new();
    loop {
        let (value, size, kind) = (le(&file, at, 8), le(&file, at + 8, 4) as usize, le(&file, at + 12, 4));
        if size > 0 {
            let mut wanted = vec![0; GRAIN];
            image.read_at(&mut wanted, value * SECTOR as u64).unwrap();
            assert!(inflate(&file, at) == wanted, "grain at sector {value}");
            seen.push(value / GRAIN_SECTORS);
            at += (12 + size).next_multiple_of(SECTOR);
        } else if kind == Marker::EndOfStream as u64 {
            break;
        } else {
            at += SECTOR * (1 + value as usize);
        }
    }
    assert_eq!(seen, [0, 1, 640, 641, 1599]);
    assert_eq!(at + SECTOR, file.len(), "the end of stream is the last sector");
    assert_eq!(stats, Stats { capacity: 100 << 20, populated: 5 << 16, file_len: file.len() as u64 });
}

#[test]
fn footer_leads_to_every_grain() {
    let (file, _) = written(&sample());
    let directory = le(&file, file.len() - 2 * SECTOR + 56, 8) as usize * SECTOR;
    let tables = [0, 1, 2, 3].map(|table| le(&file, directory + table * 4, 4) as usize * SECTOR);
    assert_eq!(tables[2], 0, "a table without grains is absent");
    let grain = |index: usize| le(&file, tables[index / 512] + index % 512 * 4, 4) as usize * SECTOR;
    for index in [0, 1, 640, 641, 1599] {
        assert_eq!(le(&file, grain(index), 8), index as u64 * GRAIN_SECTORS);
    }
    assert_eq!(grain(2), 0);
}

#[test]
fn refuses_half_a_grain() {
    let written = write(&Sparse::new(1000), &Seed::new([7; 32]), &mut Vec::new());
    assert!(matches!(written, Err(VmdkError::Unaligned { len: 1000 })));
}

#[test]
fn header_and_descriptor() {
    expect![[r#"
        magic "KDMV"
        version 0x3
        flags 0x30001
        capacity 0x32000
        grainSize 0x80
        descriptorOffset 0x1
        descriptorSize 0x14
        numGTEsPerGT 0x200
        rgdOffset 0x0
        gdOffset 0xffffffffffffffff
        overHead 0x80
        uncleanShutdown 0x0
        compressAlgorithm 0x1

        # Disk DescriptorFile
        version=1
        encoding="UTF-8"
        CID=06fe288b
        parentCID=ffffffff
        createType="streamOptimized"

        # Extent description
        RW 204800 SPARSE "disk.vmdk"

        # The Disk Data Base
        #DDB

        ddb.longContentID = "8812b368cf5b202d112df65a06fe288b"
        ddb.virtualHWVersion = "4"
        ddb.geometry.cylinders = "13"
        ddb.geometry.heads = "255"
        ddb.geometry.sectors = "63"
        ddb.adapterType = "lsilogic"
        ddb.toolsInstallType = "4"
        ddb.toolsVersion = "2147483647"
    "#]]
    .assert_eq(&dump(&written(&sample()).0.into()).unwrap());
}
