/* A stand-in for the driver's libnvidia-ml.so.1, as pynvml calls it: only the functions that node/gpus.py asks for.
 *
 * Its figures are in the file that FAKE_NVML names, read again at each call, so that a GPU can be lost meanwhile:
 *   init CODE                                      what nvmlInitWithFlags answers; 0 if it is not there
 *   gpu UUID TOTAL FREE UTIL TEMP MILLIWATTS NAME  one GPU, numbered in the order of lines
 *   piece UUID TOTAL FREE NAME                     a MIG device of the gpu above it
 *   process DEVICE PID BYTES                       computes on the DEVICE'th line of the two above, from 0
 *   drawing DEVICE PID BYTES                       the same for the list of graphics processes
 * For a figure, -1 is NVML_ERROR_NOT_SUPPORTED, and -15 NVML_ERROR_GPU_IS_LOST, and so on. BYTES -1: not available.
 *
 * Like the real one it answers NVML_ERROR_UNINITIALIZED before nvmlInitWithFlags and after nvmlShutdown, and refuses
 * handles that it never gave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { MOST = 16 };

typedef long long Figure;
typedef struct {
  int is_piece, gpu; /* gpu: of which GPU */
  char uuid[96], name[96];
  Figure total, available, use, temperature, milliwatts;
} Device;
typedef struct { int device, pid, drawing; Figure bytes; } Process;
typedef struct { unsigned int pid; unsigned long long bytes; unsigned int gpu_instance, compute_instance; } ProcessInfo;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;

static int users, devices, processes, gpus, init_code;
static Device device[MOST];
static Process process[MOST];

static void parse(const char *line) {
  Device *d = &device[devices];
  Process *p = &process[processes];
  if (sscanf(line, "init %d", &init_code) == 1) return;
  memset(d, 0, sizeof *d);
  if (sscanf(line, "gpu %95s %lld %lld %lld %lld %lld %95[^\n]", d->uuid, &d->total, &d->available, &d->use,
             &d->temperature, &d->milliwatts, d->name) == 7) {
    d->gpu = gpus++;
    devices++;
  } else if (sscanf(line, "piece %95s %lld %lld %95[^\n]", d->uuid, &d->total, &d->available, d->name) == 4) {
    d->gpu = gpus - 1, d->is_piece = 1, d->use = d->temperature = d->milliwatts = -1;
    devices++;
  } else if (sscanf(line, "process %d %d %lld", &p->device, &p->pid, &p->bytes) == 3) {
    p->drawing = 0, processes++;
  } else if (sscanf(line, "drawing %d %d %lld", &p->device, &p->pid, &p->bytes) == 3) {
    p->drawing = 1, processes++;
  }
}

static void read_figures(void) {
  const char *path = getenv("FAKE_NVML");
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[512];
  devices = processes = gpus = init_code = 0;
  if (!file) return;
  while (devices < MOST && processes < MOST && fgets(line, sizeof line, file)) parse(line);
  fclose(file);
}

/* The device of a handle; sets *code where there is none. */
static Device *find(const void *handle, int *code) {
  const Device *asked = handle;
  read_figures();
  *code = !users ? UNINITIALIZED : asked < device || asked >= device + devices ? INVALID_ARGUMENT : SUCCESS;
  return *code ? NULL : &device[asked - device];
}

static int figure(Figure told, unsigned int *out) {
  if (told < 0) return told == -1 ? NOT_SUPPORTED : (int)-told;
  *out = (unsigned int)told;
  return SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) {
  (void)flags;
  read_figures();
  if (!init_code) users++;
  return init_code;
}

int nvmlShutdown(void) { return users ? (users--, SUCCESS) : UNINITIALIZED; }

const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "some error"; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
  read_figures();
  *count = gpus;
  return users ? SUCCESS : UNINITIALIZED;
}

static int nth(int gpu, int is_piece, unsigned int index, void **handle) {
  for (int i = 0; i < devices; i++)
    if (device[i].is_piece == is_piece && (gpu < 0 || device[i].gpu == gpu) && !index--) {
      *handle = &device[i];
      return SUCCESS;
    }
  return is_piece ? NOT_FOUND : INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
  read_figures();
  return users ? nth(-1, 0, index, handle) : UNINITIALIZED;
}

int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
  int code;
  void *piece;
  Device *d = find(handle, &code);
  if (!d) return code;
  *current = *pending = nth(d->gpu, 1, 0, &piece) == SUCCESS;
  return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
  int code;
  *count = 7; /* as an H100 has it: most indices name no piece */
  find(handle, &code);
  return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **piece) {
  int code;
  Device *d = find(handle, &code);
  return d ? nth(d->gpu, 1, index, piece) : code;
}

static int text(const char *from, char *to, unsigned int size) {
  if (strlen(from) >= size) return INSUFFICIENT_SIZE;
  strcpy(to, from);
  return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned int size) {
  int code;
  Device *d = find(handle, &code);
  return d ? text(d->name, name, size) : code;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned int size) {
  int code;
  Device *d = find(handle, &code);
  return d ? text(d->uuid, uuid, size) : code;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
  int code;
  unsigned int ignored;
  Device *d = find(handle, &code);
  if (!d) return code;
  if (d->total < 0) return figure(d->total, &ignored);
  *memory = (Memory){d->total, d->available, d->total - d->available};
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *handle, Utilization *rates) {
  int code;
  Device *d = find(handle, &code);
  return d ? figure(d->use, &rates->gpu) : code;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *celsius) {
  int code;
  Device *d = find(handle, &code);
  return d ? sensor ? INVALID_ARGUMENT : figure(d->temperature, celsius) : code;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
  int code;
  Device *d = find(handle, &code);
  return d ? figure(d->milliwatts, milliwatts) : code;
}

static int list(void *handle, int drawing, unsigned int *room, ProcessInfo *infos) {
  int code;
  unsigned int found = 0;
  Device *d = find(handle, &code);
  if (!d) return code;
  for (int i = 0; i < processes; i++) {
    if (process[i].device != d - device || process[i].drawing != drawing) continue;
    if (infos && found < *room) infos[found] = (ProcessInfo){process[i].pid, process[i].bytes, -1, -1};
    found++;
  }
  code = found > *room ? INSUFFICIENT_SIZE : SUCCESS;
  *room = found;
  return code;
}

/* Without the second symbol, as with -DOLD_DRIVER, it is a driver of before 2022. */
#ifndef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *room, ProcessInfo *infos) {
  return list(handle, 0, room, infos);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned int *room, ProcessInfo *infos) {
  return list(handle, 1, room, infos);
}
#endif
