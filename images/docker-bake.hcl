# The four images for both architectures, with one compilation per architecture. From the repository's root:
#
#   docker buildx bake -f images/docker-bake.hcl                                  build, keep in the cache
#   docker buildx bake -f images/docker-bake.hcl --load --set '*.platform=linux/amd64'   for local use
#   docker buildx bake -f images/docker-bake.hcl --push                           to REGISTRY/OWNER

variable "REGISTRY" {
  default = "ghcr.io"
}

variable "OWNER" {
  default = "tkubica12"
}

variable "TAG" {
  default = "latest"
}

variable "VERSION" {
  default = "dev"
}

variable "REVISION" {
  default = "unknown"
}

variable "SOURCE" {
  default = "https://github.com/tkubica12/dataplayground"
}

# "true" pushes untagged images, one for each architecture, with SBOM and provenance: images.yml joins
# and tags them.
variable "PUSH_BY_DIGEST" {
  default = "false"
}

group "default" {
  targets = ["generator"]
}

target "generator" {
  name = generator
  matrix = {
    generator = ["gen-users", "gen-products", "gen-orders", "stream-pageviews"]
  }

  context    = "."
  dockerfile = "images/Dockerfile"
  target     = generator
  platforms  = ["linux/amd64", "linux/arm64"]
  args = {
    VERSION  = VERSION
    REVISION = REVISION
    SOURCE   = SOURCE
  }

  tags   = PUSH_BY_DIGEST == "true" ? [] : ["${REGISTRY}/${OWNER}/${generator}:${TAG}"]
  output = PUSH_BY_DIGEST == "true" ? ["type=image,name=${REGISTRY}/${OWNER}/${generator},push-by-digest=true,name-canonical=true,push=true"] : []
  attest = PUSH_BY_DIGEST == "true" ? ["type=sbom", "type=provenance,mode=max"] : []
}
