/* A camera for a program that is started with this library in LD_PRELOAD, where the kernel lends none.
 *
 * $CAMERA_FOLDER/FOURCC holds the bytes of a frame of WIDTH x HEIGHT; the files are the formats that the device
 * has, YUYV its first one. After $CAMERA_FRAMES frames it is unplugged, until it is opened again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/video77"
#define WIDTH 64
#define HEIGHT 48
#define BUFFER_BYTES 65536
#define BUFFERS 8

static int device = -1;
static unsigned int format = V4L2_PIX_FMT_YUYV;
static int next_buffer, buffers, frames_left;

static ssize_t read_frame(unsigned int wanted, void *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%.4s", getenv("CAMERA_FOLDER"), (char *)&wanted);
    FILE *file = fopen(path, "rb");
    if (file == NULL) return -1;
    ssize_t count = fread(bytes, 1, size, file);
    fclose(file);
    return count;
}

static int open_device(void)
{
    device = memfd_create("camera", 0);
    if (device >= 0 && ftruncate(device, BUFFERS * BUFFER_BYTES) != 0) return -1;
    format = V4L2_PIX_FMT_YUYV;
    frames_left = atoi(getenv("CAMERA_FRAMES"));
    next_buffer = 0;
    return device;
}

#define OPEN(NAME)                                                                   \
    int NAME(const char *path, int flags, ...)                                       \
    {                                                                                \
        if (strcmp(path, DEVICE) == 0) return open_device();                         \
        va_list arguments;                                                           \
        va_start(arguments, flags);                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                           \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #NAME))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int close(int file)
{
    if (file == device) device = -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(file);
}

#define STAT(NAME, KIND)                                                             \
    int NAME(const char *path, struct KIND *status)                                  \
    {                                                                                \
        const char *seen = strcmp(path, DEVICE) == 0 ? "/dev/null" : path;           \
        return ((int (*)(const char *, struct KIND *))dlsym(RTLD_NEXT, #NAME))(seen, status); \
    }
STAT(stat, stat)
STAT(stat64, stat64)

int access(const char *path, int mode)
{
    const char *seen = strcmp(path, DEVICE) == 0 ? "/dev/null" : path;
    return ((int (*)(const char *, int))dlsym(RTLD_NEXT, "access"))(seen, mode);
}

static void describe(struct v4l2_format *answer)
{
    answer->fmt.pix.width = WIDTH;
    answer->fmt.pix.height = HEIGHT;
    answer->fmt.pix.pixelformat = format;
    answer->fmt.pix.field = V4L2_FIELD_NONE;
    answer->fmt.pix.bytesperline = 2 * WIDTH;
    answer->fmt.pix.sizeimage = BUFFER_BYTES;
}

static int take(struct v4l2_buffer *buffer)
{
    if (frames_left == 0) {
        errno = ENODEV;
        return -1;
    }
    frames_left--;
    nanosleep(&(struct timespec){0, 2000000}, NULL);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->index = next_buffer;
    next_buffer = (next_buffer + 1) % buffers;
    buffer->length = BUFFER_BYTES;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    buffer->timestamp = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    void *bytes = mmap(NULL, BUFFER_BYTES, PROT_WRITE, MAP_SHARED, device, buffer->index * BUFFER_BYTES);
    buffer->bytesused = read_frame(format, bytes, BUFFER_BYTES);
    munmap(bytes, BUFFER_BYTES);
    return 0;
}

int ioctl(int file, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (file < 0 || file != device)
        return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(file, request, argument);
    char bytes[BUFFER_BYTES];
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT: {
        unsigned int wanted = ((struct v4l2_format *)argument)->fmt.pix.pixelformat;
        if (read_frame(wanted, bytes, sizeof bytes) >= 0) format = wanted;
    } /* fall through */
    case VIDIOC_G_FMT:
        describe(argument);
        return 0;
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        ((struct v4l2_streamparm *)argument)->parm.capture.timeperframe = (struct v4l2_fract){1, 25};
        return 0;
    case VIDIOC_REQBUFS:
        buffers = ((struct v4l2_requestbuffers *)argument)->count;
        if (buffers > BUFFERS) buffers = ((struct v4l2_requestbuffers *)argument)->count = BUFFERS;
        return 0;
    case VIDIOC_QUERYBUF:
        ((struct v4l2_buffer *)argument)->length = BUFFER_BYTES;
        ((struct v4l2_buffer *)argument)->m.offset = ((struct v4l2_buffer *)argument)->index * BUFFER_BYTES;
        return 0;
    case VIDIOC_QBUF:
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        return 0;
    case VIDIOC_DQBUF:
        return take(argument);
    default:
        errno = EINVAL;
        return -1;
    }
}
