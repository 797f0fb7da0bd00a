//! ImageService of CRI.

use lepton_cri::v1::image_service_server::ImageService;
use lepton_cri::v1::{
    FilesystemIdentifier, FilesystemUsage, Image, ImageFsInfoRequest, ImageFsInfoResponse, ImageSpec,
    ImageStatusRequest, ImageStatusResponse, Int64Value, ListImagesRequest, ListImagesResponse,
    PullImageRequest, PullImageResponse, RemoveImageRequest, RemoveImageResponse, StreamImagesRequest,
    StreamImagesResponse, UInt64Value,
};
use lepton_runtime_images::{Credentials, ImageRecord, Usage};
use lepton_runtime_shim::time;
use tonic::{Request, Response, Status};

use super::{Answers, Service, in_parts};
use crate::error::Failure;

/// An image as CRI shows it.
fn shown(image: &ImageRecord) -> Image {
    let user = image.config.user.split(':').next().unwrap_or_default();
    let (uid, username) = match user.parse::<i64>() {
        Ok(value) => (Some(Int64Value { value }), String::new()),
        Err(_) if user.is_empty() => (Some(Int64Value { value: 0 }), String::new()),
        Err(_) => (None, user.to_owned()),
    };
    Image {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid,
        username,
        spec: Some(ImageSpec {
            image: image.id.to_string(),
            annotations: image.annotations.clone(),
            ..ImageSpec::default()
        }),
        pinned: image.pinned,
    }
}

impl Service {
    fn image_list(&self, wanted: Option<ImageSpec>) -> Vec<Image> {
        match wanted.map(|wanted| wanted.image).filter(|name| !name.is_empty()) {
            Some(name) => self.0.images.get(&name).iter().map(shown).collect(),
            None => self.0.images.list().iter().map(shown).collect(),
        }
    }
}

#[tonic::async_trait]
impl ImageService for Service {
    async fn list_images(
        &self,
        request: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let wanted = request.into_inner().filter.and_then(|filter| filter.image);
        Ok(Response::new(ListImagesResponse { images: self.image_list(wanted) }))
    }

    async fn stream_images(
        &self,
        request: Request<StreamImagesRequest>,
    ) -> Result<Response<Answers<StreamImagesResponse>>, Status> {
        let wanted = request.into_inner().filter.and_then(|filter| filter.image);
        Ok(Response::new(in_parts(self.image_list(wanted), |images| StreamImagesResponse { images })))
    }

    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let request = request.into_inner();
        let name = request.image.map(|image| image.image).unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::invalid("no image was named").into());
        }
        let image = match self.0.images.get(&name).map_err(Failure::from) {
            Ok(image) => Some(image),
            // An image that is not there is an answer without one.
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let mut info = std::collections::BTreeMap::new();
        if let Some(image) = image.as_ref().filter(|_| request.verbose) {
            let config = serde_json::json!({"imageSpec": {"architecture": image.config.architecture, "config": {
                "User": image.config.user, "Env": image.config.env, "Entrypoint": image.config.entrypoint,
                "Cmd": image.config.cmd, "WorkingDir": image.config.working_dir, "StopSignal": image.config.stop_signal,
                "Labels": image.config.labels}}});
            info.insert("info".to_owned(), config.to_string());
        }
        Ok(Response::new(ImageStatusResponse { image: image.as_ref().map(shown), info }))
    }

    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<PullImageResponse>, Status> {
        let request = request.into_inner();
        let name = request.image.map(|image| image.image).unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::invalid("no image was named").into());
        }
        let credentials = request.auth.map(credentials).transpose()?;
        let pulled = self.0.images.pull(&name, credentials.as_ref()).await.map_err(Failure::from)?;
        Ok(Response::new(PullImageResponse { image_ref: pulled.id.to_string() }))
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        let name = request.into_inner().image.map(|image| image.image).unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::invalid("no image was named").into());
        }
        // CRI removes the image, whatever it is called by.
        let removed = match self.0.images.get(&name).map_err(Failure::from) {
            Ok(image) => self.0.images.remove(&image.id.to_string()).await.map_err(Failure::from),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Response::new(RemoveImageResponse {})),
        }
    }

    async fn image_fs_info(
        &self,
        _: Request<ImageFsInfoRequest>,
    ) -> Result<Response<ImageFsInfoResponse>, Status> {
        let usage = self.0.images.fs_usage().await.map_err(Failure::from)?;
        let mountpoint = usage.root.display().to_string();
        let shown = |used: Usage| FilesystemUsage {
            timestamp: time::now_ns(),
            fs_id: Some(FilesystemIdentifier { mountpoint: mountpoint.clone() }),
            used_bytes: Some(UInt64Value { value: used.bytes }),
            inodes_used: Some(UInt64Value { value: used.inodes }),
        };
        Ok(Response::new(ImageFsInfoResponse {
            image_filesystems: vec![shown(usage.images)],
            container_filesystems: vec![shown(usage.snapshots)],
        }))
    }
}

/// What is sent to the registry; `auth` is user and password in base64.
fn credentials(auth: lepton_cri::v1::AuthConfig) -> Result<Credentials, Failure> {
    use base64::Engine as _;
    let mut credentials = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    };
    if credentials.username.is_empty() && !auth.auth.is_empty() {
        let wrong = || Failure::invalid("the registry credentials are not user:password in base64");
        let bytes = base64::prelude::BASE64_STANDARD.decode(&auth.auth).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        credentials.username = user.to_owned();
        credentials.password = password.trim_end_matches('\0').to_owned();
    }
    Ok(credentials)
}
