// A CUDA runtime and driver without a device: enough of both for PyTorch's own caching allocator to run
// on, so that our replay can be held against it. Memory is a counter and addresses only ever grow.
//
// WITNESS_CAPACITY bytes can be reserved in all; further cudaMalloc and cuMemCreate are out of memory.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace {

constexpr size_t kPage = size_t{2} << 20;
const size_t capacity = std::strtoull(std::getenv("WITNESS_CAPACITY"), nullptr, 10);
size_t used = 0;
size_t next_address = size_t{1} << 32;
size_t next_handle = 1;
std::map<size_t, size_t> segments;  // address -> bytes, of cudaMalloc
std::map<size_t, size_t> pages;     // handle -> bytes, of cuMemCreate

size_t reserve_address(size_t bytes) {
  const size_t address = next_address;
  next_address += (bytes + kPage - 1) / kPage * kPage;
  return address;
}

CUresult mem_address_reserve(CUdeviceptr* ptr, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  *ptr = reserve_address(bytes);
  return CUDA_SUCCESS;
}

CUresult mem_create(
    CUmemGenericAllocationHandle* handle, size_t bytes, const CUmemAllocationProp*, unsigned long long) {
  if (used + bytes > capacity) return CUDA_ERROR_OUT_OF_MEMORY;
  used += bytes;
  *handle = next_handle++;
  pages[*handle] = bytes;
  return CUDA_SUCCESS;
}

CUresult mem_release(CUmemGenericAllocationHandle handle) {
  used -= pages.at(handle);
  pages.erase(handle);
  return CUDA_SUCCESS;
}

CUresult get_error_string(CUresult, const char** text) {
  *text = "fake driver";
  return CUDA_SUCCESS;
}

CUresult device_get_attribute(int* value, CUdevice_attribute, CUdevice) {
  *value = 0;
  return CUDA_SUCCESS;
}

CUresult nothing() { return CUDA_SUCCESS; }

}  // namespace

extern "C" {

int witness_captures = 0;  // whether a CUDA graph is being captured

cudaError_t cudaGetDeviceCount(int* count) { *count = 1; return cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { *version = 13000; return cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "fake runtime"; }
const char* cudaGetErrorName(cudaError_t) { return "fake"; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = witness_captures ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t, cudaStreamCaptureStatus* status, unsigned long long*, cudaGraph_t*, const cudaGraphNode_t**,
    const cudaGraphEdgeData**, size_t*) {
  *status = witness_captures ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  properties->totalGlobalMem = capacity;
  properties->major = 8;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = capacity - used;
  *total = capacity;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** ptr, size_t bytes) {
  if (used + bytes > capacity) return cudaErrorMemoryAllocation;
  used += bytes;
  const size_t address = reserve_address(bytes);
  segments[address] = bytes;
  *ptr = reinterpret_cast<void*>(address);
  return cudaSuccess;
}

cudaError_t cudaFree(void* ptr) {
  auto segment = segments.find(reinterpret_cast<size_t>(ptr));
  if (segment != segments.end()) {
    used -= segment->second;
    segments.erase(segment);
  }
  return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(
    const char* symbol, void** function, unsigned int, unsigned long long,
    cudaDriverEntryPointQueryResult* status) {
  static const std::map<std::string, void*> known = {
      {"cuMemAddressReserve", reinterpret_cast<void*>(&mem_address_reserve)},
      {"cuMemCreate", reinterpret_cast<void*>(&mem_create)},
      {"cuMemRelease", reinterpret_cast<void*>(&mem_release)},
      {"cuGetErrorString", reinterpret_cast<void*>(&get_error_string)},
      {"cuDeviceGetAttribute", reinterpret_cast<void*>(&device_get_attribute)},
  };
  auto found = known.find(symbol);
  *function = found == known.end() ? reinterpret_cast<void*>(&nothing) : found->second;
  if (status) *status = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

}  // extern "C"
