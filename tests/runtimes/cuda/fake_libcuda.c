/* CUDA's driver library on the processor: each call is done at once and written down. Declared as in cuda.h of CUDA 12. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;
typedef struct Thing *Handle;

static char noted[1 << 16];
static size_t limit = 1 << 20;
static __thread Handle current;

#define NOTE(...) snprintf(noted + strlen(noted), sizeof noted - strlen(noted), __VA_ARGS__)

const char *fake_told(void) { return noted; }
void fake_clear(void) { noted[0] = 0; }

CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
    return 0;
}
CUresult cuCtxGetCurrent(Handle *context) { *context = current; return 0; }
CUresult cuCtxSetCurrent(Handle context) {
    NOTE("context %llx;", (unsigned long long)(uintptr_t)context);
    current = context;
    return 0;
}
CUresult fake_primary(void) { return cuCtxSetCurrent((Handle)0x70000000c0); }
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { *free_bytes = limit / 2; *total = limit; return 0; }
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    if (size > limit) return 2;
    *address = (CUdeviceptr)(uintptr_t)malloc(size);
    return 0;
}
CUresult cuMemFree_v2(CUdeviceptr address) { free((void *)(uintptr_t)address); return 0; }
CUresult cuMemHostAlloc(void **address, size_t size, unsigned int flags) {
    if (size > limit) return 2;
    NOTE("host %u;", flags);
    *address = malloc(size);
    return 0;
}
CUresult cuMemFreeHost(void *address) { free(address); return 0; }
CUresult cuCtxGetStreamPriorityRange(int *lowest, int *highest) {
    if (!current) return 201;
    *lowest = 0;
    *highest = -5;
    return 0;
}
CUresult cuStreamCreateWithPriority(Handle *stream, unsigned int flags, int priority) {
    NOTE("stream %u %d;", flags, priority);
    *stream = (Handle)0x7000000010;
    return 0;
}
CUresult cuStreamDestroy_v2(Handle stream) { return 0; }
CUresult cuStreamSynchronize(Handle stream) { return stream == (Handle)0x7000000010 ? 0 : 700; }
CUresult cuEventCreate(Handle *event, unsigned int flags) {
    NOTE("event %u;", flags);
    *event = (Handle)0x7000000020;
    return 0;
}
CUresult cuEventDestroy_v2(Handle event) { return 0; }
CUresult cuEventRecord(Handle event, Handle stream) { return event == (Handle)0x7000000020 ? 0 : 700; }
CUresult cuEventSynchronize(Handle event) { return 0; }
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, Handle stream) {
    memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
    return 0;
}
CUresult cuStreamBeginCapture_v2(Handle stream, int mode) { NOTE("capture %d;", mode); return 0; }
CUresult cuStreamEndCapture(Handle stream, Handle *graph) {
    *graph = (Handle)0x7000000030;
    return 0;
}
CUresult cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long flags) {
    NOTE("graph %d %llu;", graph == (Handle)0x7000000030, flags);
    *executable = (Handle)0x7000000040;
    return 0;
}
CUresult cuGraphDestroy(Handle graph) { NOTE("drop %d;", graph == (Handle)0x7000000030); return 0; }
CUresult cuGraphExecDestroy(Handle executable) { return 0; }
CUresult cuGraphLaunch(Handle executable, Handle stream) {
    NOTE("launch %d %d;", executable == (Handle)0x7000000040, stream == (Handle)0x7000000010);
    return 0;
}
CUresult cuModuleLoadData(Handle *module, const void *image) {
    NOTE("module %d;", memcmp(image, "cubin\0more", 10) == 0);
    *module = (Handle)0x7000000050;
    return 0;
}
CUresult cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    NOTE("function %s %d;", name, module == (Handle)0x7000000050);
    *function = (Handle)0x7000000060;
    return 0;
}
CUresult cuLaunchKernel(Handle function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                        unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                        Handle stream, void **parameters, void **extra) {
    NOTE("kernel %d %u %u %u %u %u %u %u %d %d %g %llx %d;", function == (Handle)0x7000000060, grid_x, grid_y,
         grid_z, block_x, block_y, block_z, shared, stream == (Handle)0x7000000010, *(int *)parameters[0],
         *(float *)parameters[1], *(unsigned long long *)parameters[2], extra == NULL);
    return 0;
}
