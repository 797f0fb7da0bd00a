//! A reader of the subset that the writer uses, and what it reads back.

#![expect(clippy::cast_possible_truncation, reason = "offsets in small test files")]

use std::io::Cursor;

use expect_test::expect;
use flate2::{Decompress, FlushDecompress};

use super::*;
use crate::blocks::tests::noise;

/// Text, noise, zeroes and holes over two L2 tables.
fn sample() -> Sparse {
    let mut image = Sparse::new(600 << 20);
    image.put(0, b"boot sector".to_vec());
    image.put(1 << 20, noise(200_000));
    image.put(2 << 20, b"some words that repeat, ".repeat(40_000));
    image.put(8 << 20, vec![0; 1 << 20]);
    image.put((600 << 20) - 512, noise(512));
    image
}

fn written(image: &Sparse) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    write(image, &mut out).unwrap();
    out.into_inner()
}

fn be64(file: &[u8], offset: u64) -> u64 {
    u64::from_be_bytes(file[offset as usize..][..8].try_into().unwrap())
}

/// Walks L1 and L2: calls `visit` with the index and entry of each allocated cluster, and gives the
/// references that the tables, the header and the entries hold on each host cluster.
fn walk(file: &[u8], mut visit: impl FnMut(u64, u64)) -> Vec<u16> {
    let mut references = vec![0; file.len() / CLUSTER];
    let mut hold = |from: u64, to: u64| {
        for cluster in from / CLUSTER_U64..to.div_ceil(CLUSTER_U64) {
            references[cluster as usize] += 1;
        }
    };
    let (l1_size, l1) = (be64(file, 32) & 0xffff_ffff, be64(file, 40));
    let (table, table_len) = (be64(file, 48), (be64(file, 56) >> 32) * CLUSTER_U64);
    hold(0, CLUSTER_U64);
    hold(l1, l1 + l1_size * 8);
    hold(table, table + table_len);
    for block in (table..table + table_len).step_by(8).map(|at| be64(file, at)).filter(|block| *block != 0) {
        hold(block, block + CLUSTER_U64);
    }
    for table in 0..l1_size {
        let l2 = be64(file, l1 + table * 8) & !COPIED;
        if l2 == 0 {
            continue;
        }
        hold(l2, l2 + CLUSTER_U64);
        for slot in 0..L2_ENTRIES as u64 {
            let entry = be64(file, l2 + slot * 8);
            if entry & COMPRESSED != 0 {
                let (from, sectors) = extent(entry);
                hold(from, (from / SECTOR + sectors) * SECTOR);
            } else if entry != 0 {
                hold(entry & !COPIED, (entry & !COPIED) + CLUSTER_U64);
            }
            if entry != 0 {
                visit(table * L2_ENTRIES as u64 + slot, entry);
            }
        }
    }
    references
}

fn extent(entry: u64) -> (u64, u64) {
    (entry & ((1 << SECTORS_SHIFT) - 1), ((entry & !COMPRESSED) >> SECTORS_SHIFT) + 1)
}

fn cluster(file: &[u8], entry: u64) -> Vec<u8> {
    if entry & COMPRESSED == 0 {
        return file[(entry & !COPIED) as usize..][..CLUSTER].to_vec();
    }
    let (from, sectors) = extent(entry);
    let to = ((from / SECTOR + sectors) * SECTOR) as usize;
    let mut bytes = Vec::with_capacity(CLUSTER);
    let mut inflater = Decompress::new_with_window_bits(false, 12);
    inflater.decompress_vec(&file[from as usize..to], &mut bytes, FlushDecompress::Finish).unwrap();
    bytes
}

#[test]
fn reads_back() {
    let image = sample();
    let file = written(&image);
    let mut indices = Vec::new();
    walk(&file, |index, entry| {
        let mut wanted = vec![0; CLUSTER];
        image.read_at(&mut wanted, index * CLUSTER_U64).unwrap();
        assert!(cluster(&file, entry) == wanted, "cluster {index}");
        indices.push(index);
    });
    let allocated: Vec<u64> = [0].into_iter().chain(16..20).chain(32..47).chain([9599]).collect();
    assert_eq!(indices, allocated);
}

#[test]
fn refcounts_are_the_references() {
    let file = written(&sample());
    let references = walk(&file, |_, _| ());
    let block = be64(&file, be64(&file, 48)) as usize;
    let counts: Vec<u16> = file[block..block + references.len() * 2]
        .chunks(2)
        .map(|count| u16::from_be_bytes(count.try_into().unwrap()))
        .collect();
    assert_eq!(counts, references);
    assert!(references.iter().all(|count| *count > 0), "no cluster leaks");
}

#[test]
fn refcount_blocks_count_themselves() {
    assert_eq!(refcount_layout(10), (1, 1));
    assert_eq!(refcount_layout(REFCOUNTS_PER_BLOCK - 2), (1, 1));
    assert_eq!(refcount_layout(REFCOUNTS_PER_BLOCK - 1), (1, 2));
    assert_eq!(refcount_layout(REFCOUNTS_PER_BLOCK * 8192), (2, 8193));
}

#[test]
fn refuses_half_a_sector() {
    let written = write(&Sparse::new(1000), &mut Cursor::new(Vec::new()));
    assert!(matches!(written, Err(Qcow2Error::Unaligned { len: 1000 })));
}

#[test]
fn header_fields() {
    expect![[r#"
        magic "QFI�"
        version 3
        backing_file_offset 0
        cluster_bits 16
        size 629145600
        crypt_method 0
        l1_size 2
        l1_table_offset 458752
        refcount_table_offset 524288
        refcount_table_clusters 1
        nb_snapshots 0
        incompatible_features 0
        compatible_features 0
        autoclear_features 0
        refcount_order 4
        header_length 104
    "#]]
    .assert_eq(&dump(&written(&sample()).into()).unwrap());
}
