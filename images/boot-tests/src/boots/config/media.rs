//! Disks and CDs with a machine config, made by the tools that people make them with.

use std::fs;
use std::path::{Path, PathBuf};

use lepton_builder::sandbox::Sandbox;
use tempfile::TempDir;

use crate::Context;
use crate::context::TestError;

/// Where tools see the folder of a run.
const WORK: &str = "/work";
/// Where the EFI system partition of a disk image starts.
const ESP_OFFSET: &str = "1M";

/// A folder for the media of one test, which goes away with it.
#[derive(Debug)]
pub(super) struct Media(TempDir);

impl Media {
    pub(super) fn new() -> Result<Self, TestError> {
        let dir = tempfile::Builder::new().prefix("lepton-media-").tempdir();
        dir.map(Self).map_err(TestError::file("make", "a folder for media"))
    }

    /// An ISO 9660 image with Rock Ridge and Joliet names.
    pub(super) fn cd(&self, cx: &Context, label: &str, files: &[(&str, &str)]) -> Result<PathBuf, TestError> {
        let (source, image) = (format!("{label}.files"), format!("{label}.iso"));
        self.write(&source, files)?;
        let args = ["-as", "mkisofs", "-quiet", "-r", "-J", "-V", label, "-o"];
        run(&self.tool(cx, "xorriso").args(args).args([work(&image), work(&source)]))?;
        Ok(self.0.path().join(image))
    }

    /// A FAT file system on a whole disk.
    pub(super) fn fat(
        &self,
        cx: &Context,
        label: &str,
        files: &[(&str, &str)],
    ) -> Result<PathBuf, TestError> {
        let (source, image) = (format!("{label}.files"), format!("{label}.img"));
        self.write(&source, files)?;
        run(&self.tool(cx, "mkfs.fat").args(["-n", label, "-C", &work(&image), "2048"]))?;
        let mut names: Vec<&str> = files.iter().filter_map(|(name, _)| name.split('/').next()).collect();
        names.dedup();
        for name in names {
            let from = work(&format!("{source}/{name}"));
            run(&self.tool(cx, "mcopy").args(["-s", "-i", &work(&image), &from, "::/"]))?;
        }
        Ok(self.0.path().join(image))
    }

    /// A copy of a disk image whose EFI system partition has the file `lepton/config.toml`.
    pub(super) fn with_esp_file(&self, cx: &Context, raw: &Path, text: &str) -> Result<PathBuf, TestError> {
        self.write("esp.files", &[("lepton/config.toml", text)])?;
        // A disk image is mostly holes.
        let copy = self.tool(cx, "cp").read_only(raw, "/in/raw").args([
            "--sparse=always",
            "/in/raw",
            &work("disk.raw"),
        ]);
        run(&copy)?;
        let esp = format!("{}@@{ESP_OFFSET}", work("disk.raw"));
        run(&self.tool(cx, "mcopy").args(["-s", "-i", &esp, &work("esp.files/lepton"), "::/"]))?;
        Ok(self.0.path().join("disk.raw"))
    }

    fn write(&self, folder: &str, files: &[(&str, &str)]) -> Result<(), TestError> {
        for (name, text) in files {
            let path = self.0.path().join(folder).join(name);
            let parent = path.parent().unwrap_or(&path);
            fs::create_dir_all(parent).map_err(TestError::file("make", parent))?;
            fs::write(&path, text).map_err(TestError::file("write", &path))?;
        }
        Ok(())
    }

    fn tool(&self, cx: &Context, program: &str) -> Sandbox {
        Sandbox::new(&cx.tools, program).writable(self.0.path(), WORK)
    }
}

fn run(tool: &Sandbox) -> Result<(), TestError> {
    tool.run(|_| {}).map_err(TestError::Tool)
}

fn work(name: &str) -> String {
    format!("{WORK}/{name}")
}
