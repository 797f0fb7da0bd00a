//! Volumes of each type, read back by another implementation of FAT.

use std::io::Read;

use expect_test::{Expect, expect};

use super::*;

const EPOCH: u64 = 1_767_225_599; // 2025-12-31T23:59:59Z

fn spec(size: VolumeSize, bytes_per_sector: u16, bytes_per_cluster: u32) -> FatSpec<'static> {
    FatSpec {
        size,
        bytes_per_sector,
        bytes_per_cluster,
        data_alignment: bytes_per_sector.max(2048).into(),
        label: "TEST VOL",
        serial: 0x1234_abcd,
        modified: EPOCH,
    }
}

fn files(entries: &[(&str, usize)]) -> BTreeMap<String, Content> {
    let pattern = |path: &str, len: usize| {
        (0..len).map(|at| (at * 7 + path.len()).to_le_bytes()[0]).collect::<Vec<u8>>()
    };
    entries.iter().map(|(path, len)| ((*path).to_owned(), pattern(path, *len).into())).collect()
}

fn tree() -> BTreeMap<String, Content> {
    let mut files = files(&[
        ("/EFI/BOOT/BOOTX64.EFI", 5000),
        ("/EFI/Linux/node-1.2.3+3.efi", 40_001),
        ("/EFI/Linux/node-1.2.4+3.efi", 2048),
        ("/loader/loader.conf", 21),
        ("/loader/entries.srel", 0),
        ("/größe/ein sehr langer Name, länger als dreizehn.txt", 3),
    ]);
    // Enough names for a directory of several clusters.
    files.extend((0..200).map(|n| (format!("/many/a long file name {n}"), Content::from(vec![b'x'; n]))));
    files
}

fn list(directory: &fatfs::Dir<'_, std::fs::File>, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in directory.iter() {
        let entry = entry.unwrap();
        let path = format!("{prefix}/{}", entry.file_name());
        if [".", ".."].contains(&entry.file_name().as_str()) {
            continue;
        }
        if entry.is_dir() {
            list(&entry.to_dir(), &path, found);
        } else {
            let mut bytes = Vec::new();
            entry.to_file().read_to_end(&mut bytes).unwrap();
            found.insert(path, bytes);
        }
    }
}

/// Writes `tree()`, reads it back with another implementation, and compares the layout.
fn check(spec: &FatSpec<'_>, layout: &Expect) {
    let files = tree();
    let volume = write(spec, &files).unwrap();
    layout.assert_eq(&dump(&volume.image, 0).unwrap());

    let disk = tempfile::tempfile().unwrap();
    volume.image.write_to_file(&disk).unwrap();
    let read = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
    assert_eq!(read.volume_id(), spec.serial);
    assert_eq!(read.volume_label(), spec.label);
    assert_eq!(read.read_volume_label_from_root_dir().unwrap().as_deref(), Some(spec.label));
    let kind = match volume.kind {
        FatKind::Fat12 => fatfs::FatType::Fat12,
        FatKind::Fat16 => fatfs::FatType::Fat16,
        FatKind::Fat32 => fatfs::FatType::Fat32,
    };
    assert_eq!(read.fat_type(), kind);
    let mut found = BTreeMap::new();
    list(&read.root_dir(), "", &mut found);
    let wanted: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, content)| (path.clone(), content.to_vec().unwrap())).collect();
    assert!(found == wanted, "{:?} is not {:?}", found.keys(), wanted.keys());

    for (path, bytes) in &wanted {
        let Some(offset) = volume.offsets.get(path) else {
            assert!(bytes.is_empty(), "{path} has no offset");
            continue;
        };
        assert!(offset.is_multiple_of(2048), "{path} at {offset}");
        let mut there = vec![0; bytes.len()];
        volume.image.read_at(&mut there, *offset).unwrap();
        assert!(there == *bytes, "{path} is not at {offset}");
    }
}

#[test]
fn fat12_as_small_as_can_be() {
    check(
        &spec(VolumeSize::Smallest, 512, 2048),
        &expect![[r#"
        type: FAT12
        label: TEST VOL
        serial: 1234-abcd
        bytes per sector: 512
        sectors per cluster: 4
        reserved sectors: 2
        fats: 2 of 1 sectors
        root entries: 512
        total sectors: 996
        data sector: 36
        clusters: 240
    "#]],
    );
}

#[test]
fn fat16_of_fixed_size() {
    check(
        &spec(VolumeSize::Exact(14 << 20), 512, 2048),
        &expect![[r#"
        type: FAT16
        label: TEST VOL
        serial: 1234-abcd
        bytes per sector: 512
        sectors per cluster: 4
        reserved sectors: 2
        fats: 2 of 29 sectors
        root entries: 512
        total sectors: 28672
        data sector: 92
        clusters: 7145
    "#]],
    );
}

#[test]
fn fat32_with_large_sectors() {
    check(
        &spec(VolumeSize::Exact(1 << 30), 4096, 4096),
        &expect![[r#"
        type: FAT32
        label: TEST VOL
        serial: 1234-abcd
        bytes per sector: 4096
        sectors per cluster: 1
        reserved sectors: 32
        fats: 2 of 257 sectors
        root entries: 0
        total sectors: 262144
        data sector: 546
        clusters: 261598
        root cluster: 2
        free clusters: 261373, next 227
        backup boot sector: 6
    "#]],
    );
}

#[test]
fn entries_carry_the_time_in_utc() {
    let volume = write(&spec(VolumeSize::Smallest, 512, 512), &files(&[("/A", 1)])).unwrap();
    // The root directory, of 512 entries, ends where the data area starts.
    let mut root = [0; 64];
    volume.image.read_at(&mut root, volume.offsets["/A"] - 512 * 32).unwrap();
    assert_eq!((&root[..12], &root[32..44]), (&b"TEST VOL   \x08"[..], &b"A          \x20"[..]));
    // 23:59:58 on 2025-12-31, and a second in the fine field.
    assert_eq!((root[45], &root[46..50]), (100, &[0x7d, 0xbf, 0x9f, 0x5b][..]));
}

#[test]
fn smallest_volumes_stay_away_from_the_limits_between_types() {
    for (clusters, kind, expected) in [
        (1, FatKind::Fat12, 1),
        (4068, FatKind::Fat12, 4068),
        (4069, FatKind::Fat16, 4101),
        (4102, FatKind::Fat16, 4102),
        (65508, FatKind::Fat16, 65508),
        // One cluster more for the root directory.
        (65509, FatKind::Fat32, 65541),
        (65541, FatKind::Fat32, 65542),
    ] {
        let volume = write(&spec(VolumeSize::Smallest, 512, 512), &files(&[("/F", clusters * 512)])).unwrap();
        assert_eq!(volume.kind, kind, "{clusters} clusters");
        let text = dump(&volume.image, 0).unwrap();
        assert!(text.contains(&format!("\nclusters: {expected}\n")), "{clusters} clusters gave {text}");
    }
}

#[test]
fn refuses_what_fat_cannot_say() {
    let smallest = spec(VolumeSize::Smallest, 512, 2048);
    let refuse = |spec: &FatSpec<'_>, paths: &[(&str, usize)]| write(spec, &files(paths)).unwrap_err();
    let long = format!("/{}", "x".repeat(256));
    for (paths, error) in [
        (&[("relative", 1)][..], FatError::Path("relative".into())),
        (&[("/a//b", 1)], FatError::Path("/a//b".into())),
        (&[("/a/../b", 1)], FatError::Path("/a/../b".into())),
        (&[("/a/b:c", 1)], FatError::NameCharacter("/a/b:c".into())),
        (&[(&long, 1)], FatError::NameTooLong(long.clone())),
        (&[("/EFI/a", 1), ("/EFI/A", 1)], FatError::Duplicate("/EFI/a".into())),
        (&[("/EFI/a", 1), ("/efi/b", 1)], FatError::Duplicate("/efi/b".into())),
        (&[("/a", 1), ("/a/b", 1)], FatError::Duplicate("/a/b".into())),
    ] {
        assert_eq!(refuse(&smallest, paths), error);
    }
    assert_eq!(refuse(&spec(VolumeSize::Smallest, 513, 2048), &[]), FatError::SectorSize(513));
    assert_eq!(refuse(&spec(VolumeSize::Smallest, 4096, 2048), &[]), FatError::ClusterSize(2048));
    assert_eq!(refuse(&spec(VolumeSize::Smallest, 512, 65536), &[]), FatError::ClusterSize(65536));
    assert_eq!(refuse(&FatSpec { data_alignment: 3000, ..smallest }, &[]), FatError::Alignment(3000));
    assert_eq!(refuse(&FatSpec { label: "lower", ..smallest }, &[]), FatError::Label("lower".into()));
    assert_eq!(
        refuse(&spec(VolumeSize::Exact(1 << 20 | 1), 512, 2048), &[]),
        FatError::VolumeSize(1 << 20 | 1)
    );
    assert_eq!(refuse(&spec(VolumeSize::Exact(4096), 512, 2048), &[]), FatError::AmbiguousType(4096));
    let needs_too_much = FatError::DoesNotFit { needed: 1024, available: 502, bytes_per_cluster: 2048 };
    assert_eq!(refuse(&spec(VolumeSize::Exact(1 << 20), 512, 2048), &[("/F", 2 << 20)]), needs_too_much);
    // Neither type beyond doubt: 4085 clusters and a little.
    let between = (4090 * 2 + 24) * 1024;
    assert_eq!(refuse(&spec(VolumeSize::Exact(between), 512, 2048), &[]), FatError::AmbiguousType(between));
}

#[test]
fn refuses_files_of_four_gib_without_reading_them() {
    let hole = tempfile::NamedTempFile::new().unwrap();
    hole.as_file().set_len(1 << 32).unwrap();
    let content = Content::open(hole.path()).unwrap();
    let files = |len| BTreeMap::from([("/F".to_owned(), content.slice(0, len))]);
    let large = spec(VolumeSize::Exact(8 << 30), 4096, 4096);
    assert_eq!(
        write(&large, &files(1 << 32)).unwrap_err(),
        FatError::FileTooLarge { path: "/F".into(), len: 1 << 32 }
    );
    assert!(write(&large, &files((1 << 32) - 1)).is_ok());
}
