// 3-D convolution and its gradients for JAX on a CPU: handlers of XLA's FFI that call
// oneDNN on XLA's buffers as they are.
//
// Buffers are row-major: inputs [B, T, H, W, C], kernels [kT, kH, kW, C, O], outputs
// [B, T', H', W', O]; all float32 or all bfloat16. Kernels are copied into the order
// that oneDNN's fastest convolution needs, and their gradients back.
//
// Attributes of each handler, int64: strides [3], before [3] and after [3] (numbers of
// zeros around T, H and W), and threads.

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "oneapi/dnnl/dnnl.hpp"
#include "xla/ffi/api/ffi.h"

#if DNNL_CPU_RUNTIME != DNNL_RUNTIME_OMP
#error "this oneDNN was built without OpenMP, which sets the number of threads"
#endif
#include <omp.h>

namespace {

namespace ffi = xla::ffi;
using dnnl::memory;
using Dims = memory::dims;
using Integers = ffi::Span<const int64_t>;

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

enum class Result { kOutput, kInputGradient, kKernelGradient };

// Objects that all calls share are never destroyed: XLA's threads may outlive them.
const dnnl::engine& Engine() {
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

size_t RoundUp(size_t bytes, size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// Memory for reordered kernels and for oneDNN. It is kept: new memory would be mapped
// page by page at each call.
class Workspaces {
 public:
  struct Block {
    char* data = nullptr;
    size_t bytes = 0;
  };

  Block Take(size_t bytes) {
    Block block;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        block = free_.back();
        free_.pop_back();
      }
    }
    if (block.bytes >= bytes) return block;
    std::free(block.data);
    block.bytes = RoundUp(bytes, kHugePage);
    block.data =
        static_cast<char*>(std::aligned_alloc(kHugePage, block.bytes));
    if (block.data == nullptr) throw std::bad_alloc();
#ifdef __linux__
    madvise(block.data, block.bytes, MADV_HUGEPAGE);
#endif
    return block;
  }

  void Give(Block block) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(block);
  }

 private:
  std::mutex mutex_;
  std::vector<Block> free_;
};

Workspaces& TheWorkspaces() {
  static auto* workspaces = new Workspaces;
  return *workspaces;
}

class Workspace {
 public:
  explicit Workspace(size_t bytes) : block_(TheWorkspaces().Take(bytes)) {}
  ~Workspace() { TheWorkspaces().Give(block_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* data() const { return block_.data; }

 private:
  Workspaces::Block block_;
};

// What a call consists of, which does not depend on the values of the arrays.
struct Call {
  Result result;
  memory::data_type type;
  Dims x, kernel, y, strides, before, after;
  int64_t threads;

  std::vector<int64_t> Key() const {
    std::vector<int64_t> key = {static_cast<int64_t>(result),
                                static_cast<int64_t>(type), threads};
    for (const Dims* dims : {&x, &kernel, &y, &strides, &before, &after}) {
      key.insert(key.end(), dims->begin(), dims->end());
    }
    return key;
  }
};

// The primitives of a call: one convolution, and a copy of the kernel into another
// order if the convolution needs one.
class Plan {
 public:
  explicit Plan(const Call& call) : result_(call.result) {
    const Dims& k = call.kernel;
    const int64_t inputs = k[3], outputs = k[4];
    const Dims kernel = {outputs, inputs, k[0], k[1], k[2]};
    x_ = Activations(call.x, call.type);
    y_ = Activations(call.y, call.type);
    // As it is in JAX: kT, kH, kW, C, O from the outermost to the innermost
    plain_ = memory::desc(kernel, call.type,
                          {1, outputs, k[1] * k[2] * inputs * outputs,
                           k[2] * inputs * outputs, inputs * outputs});
    const memory::desc any(kernel, call.type, memory::format_tag::any);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto forward = Forward(call, any, attributes);
    if (result_ == Result::kOutput) {
      Use(dnnl::convolution_forward(forward), forward, forward.weights_desc());
    } else if (result_ == Result::kInputGradient) {
      const auto backward = BackwardData(call, any, attributes, forward);
      Use(dnnl::convolution_backward_data(backward), backward,
          backward.weights_desc());
    } else {
      const auto backward = BackwardWeights(call, any, attributes, forward);
      Use(dnnl::convolution_backward_weights(backward), backward,
          backward.diff_weights_desc());
    }
    if (kernel_ == plain_) return;
    const bool back = result_ == Result::kKernelGradient;
    const dnnl::reorder::primitive_desc copy(
        Engine(), back ? kernel_ : plain_, Engine(), back ? plain_ : kernel_,
        attributes);
    copy_ = std::make_unique<dnnl::reorder>(copy);
    copy_scratchpad_ = copy.scratchpad_desc();
    kernel_bytes_ = RoundUp(kernel_.get_size(), kAlignment);
  }

  void Run(void* x, void* kernel, void* y) const {
    Workspace workspace(kernel_bytes_ + std::max(scratchpad_.get_size(),
                                                 copy_scratchpad_.get_size()));
    char* scratch = workspace.data() + kernel_bytes_;
    dnnl::stream stream(Engine());
    const memory plain(plain_, Engine(), kernel);
    const memory ordered =
        copy_ ? memory(kernel_, Engine(), workspace.data()) : plain;
    if (copy_ && result_ != Result::kKernelGradient) {
      Copy(stream, plain, ordered, scratch);
    }
    const bool forward = result_ == Result::kOutput;
    convolution_.execute(
        stream,
        {{result_ == Result::kInputGradient ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
          memory(x_, Engine(), x)},
         {result_ == Result::kKernelGradient ? DNNL_ARG_DIFF_WEIGHTS
                                             : DNNL_ARG_WEIGHTS,
          ordered},
         {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, memory(y_, Engine(), y)},
         {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, Engine(), scratch)}});
    if (copy_ && result_ == Result::kKernelGradient) {
      Copy(stream, ordered, plain, scratch);
    }
    stream.wait();
  }

 private:
  static memory::desc Activations(const Dims& d, memory::data_type type) {
    return memory::desc({d[0], d[4], d[1], d[2], d[3]}, type,
                        memory::format_tag::ndhwc);
  }

  // oneDNN 3 has no operation descriptors: their arguments go to the primitive's.

  dnnl::convolution_forward::primitive_desc Forward(
      const Call& call, const memory::desc& any,
      const dnnl::primitive_attr& attributes) const {
    const auto kind = result_ == Result::kOutput
                          ? dnnl::prop_kind::forward_inference
                          : dnnl::prop_kind::forward_training;
    const auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {Engine(),     kind,        direct,     x_,        any, y_,
            call.strides, call.before, call.after, attributes};
#else
    const dnnl::convolution_forward::desc operation(
        kind, direct, x_, any, y_, call.strides, call.before, call.after);
    return {operation, attributes, Engine()};
#endif
  }

  dnnl::convolution_backward_data::primitive_desc BackwardData(
      const Call& call, const memory::desc& any,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    const auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {Engine(),    direct,     x_,      any,       y_, call.strides,
            call.before, call.after, forward, attributes};
#else
    const dnnl::convolution_backward_data::desc operation(
        direct, x_, any, y_, call.strides, call.before, call.after);
    return {operation, attributes, Engine(), forward};
#endif
  }

  dnnl::convolution_backward_weights::primitive_desc BackwardWeights(
      const Call& call, const memory::desc& any,
      const dnnl::primitive_attr& attributes,
      const dnnl::convolution_forward::primitive_desc& forward) const {
    const auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {Engine(),    direct,     x_,      any,       y_, call.strides,
            call.before, call.after, forward, attributes};
#else
    const dnnl::convolution_backward_weights::desc operation(
        direct, x_, any, y_, call.strides, call.before, call.after);
    return {operation, attributes, Engine(), forward};
#endif
  }

  template <typename Description>
  void Use(dnnl::primitive convolution, const Description& description,
           const memory::desc& kernel) {
    convolution_ = std::move(convolution);
    kernel_ = kernel;
    scratchpad_ = description.scratchpad_desc();
  }

  void Copy(dnnl::stream& stream, const memory& from, const memory& to,
            void* scratch) const {
    copy_->execute(stream, {{DNNL_ARG_FROM, from},
                            {DNNL_ARG_TO, to},
                            {DNNL_ARG_SCRATCHPAD,
                             memory(copy_scratchpad_, Engine(), scratch)}});
  }

  Result result_;
  memory::desc x_, y_, plain_, kernel_, scratchpad_, copy_scratchpad_;
  dnnl::primitive convolution_;
  std::unique_ptr<dnnl::reorder> copy_;
  size_t kernel_bytes_ = 0;
};

// Returns the plan of a call; it is made once, with the number of threads that is set.
std::shared_ptr<const Plan> FindPlan(const Call& call) {
  static auto* mutex = new std::mutex;
  static auto* plans =
      new std::map<std::vector<int64_t>, std::shared_ptr<const Plan>>;
  std::lock_guard<std::mutex> lock(*mutex);
  std::shared_ptr<const Plan>& plan = (*plans)[call.Key()];
  if (plan == nullptr) plan = std::make_shared<const Plan>(call);
  return plan;
}

// Sets the number of OpenMP threads that this thread uses, until the end of the scope.
// With fewer threads than a plan was made for oneDNN would compute a part only.
class Threads {
 public:
  explicit Threads(int64_t number)
      : before_(omp_get_max_threads()), dynamic_(omp_get_dynamic()) {
    if (number > omp_get_thread_limit()) {
      throw std::runtime_error("OpenMP allows " +
                               std::to_string(omp_get_thread_limit()) +
                               " threads, but the convolution has " +
                               std::to_string(number));
    }
    omp_set_dynamic(0);
    omp_set_num_threads(static_cast<int>(number));
  }
  ~Threads() {
    omp_set_num_threads(before_);
    omp_set_dynamic(dynamic_);
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_, dynamic_;
};

void Execute(const Call& call, void* x, void* kernel, void* y) {
  const Threads threads(call.threads);
  FindPlan(call)->Run(x, kernel, y);
}

// A thread that runs one task at a time. OpenMP keeps a team of threads for each thread
// that starts one: with XLA's threads there would be many teams, and several at work.
class Worker {
 public:
  Worker() { std::thread(&Worker::Loop, this).detach(); }

  // Runs a task on the worker's thread and waits for its end.
  void Run(const std::function<void()>& task) {
    std::lock_guard<std::mutex> turn(turn_);
    std::unique_lock<std::mutex> lock(mutex_);
    task_ = &task;
    changed_.notify_all();
    changed_.wait(lock, [this] { return task_ == nullptr; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void Loop() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return task_ != nullptr; });
      try {
        (*task_)();
      } catch (...) {
        error_ = std::current_exception();
      }
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex turn_, mutex_;
  std::condition_variable changed_;
  const std::function<void()>* task_ = nullptr;
  std::exception_ptr error_;
};

Worker& WorkerOf(int32_t device) {
  static auto* mutex = new std::mutex;
  static auto* workers = new std::map<int32_t, Worker*>;
  std::lock_guard<std::mutex> lock(*mutex);
  Worker*& worker = (*workers)[device];
  if (worker == nullptr) worker = new Worker;
  return *worker;
}

Dims ToDims(Integers values) { return Dims(values.begin(), values.end()); }

ffi::Error Compute(Result result, int32_t device, Integers strides,
                   Integers before, Integers after, int64_t threads,
                   const ffi::AnyBuffer& x, const ffi::AnyBuffer& kernel,
                   const ffi::AnyBuffer& y) {
  const auto type = x.element_type();
  if (type != kernel.element_type() || type != y.element_type() ||
      (type != ffi::F32 && type != ffi::BF16)) {
    return ffi::Error::InvalidArgument(
        "the arrays must all be float32 or all be bfloat16");
  }
  if (x.dimensions().size() != 5 || kernel.dimensions().size() != 5 ||
      y.dimensions().size() != 5 || strides.size() != 3 ||
      before.size() != 3 || after.size() != 3 || threads < 1) {
    return ffi::Error::InvalidArgument(
        "expected arrays of 5 axes, strides and padding of 3 numbers and at "
        "least one thread");
  }
  const ffi::AnyBuffer& written = result == Result::kOutput ? y
                                  : result == Result::kInputGradient
                                      ? x
                                      : kernel;
  if (x.element_count() == 0 || kernel.element_count() == 0 ||
      y.element_count() == 0) {
    std::memset(written.untyped_data(), 0, written.size_bytes());
    return ffi::Error::Success();
  }
  const Call call = {result,
                     type == ffi::F32 ? memory::data_type::f32
                                      : memory::data_type::bf16,
                     ToDims(x.dimensions()),
                     ToDims(kernel.dimensions()),
                     ToDims(y.dimensions()),
                     ToDims(strides),
                     ToDims(before),
                     ToDims(after),
                     threads};
  try {
    const auto task = [&] {
      Execute(call, x.untyped_data(), kernel.untyped_data(), y.untyped_data());
    };
    if (threads == 1) {
      task();
    } else {
      WorkerOf(device).Run(task);
    }
  } catch (const dnnl::error& error) {
    return ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
  return ffi::Error::Success();
}

ffi::Error Convolution(int32_t device, Integers strides, Integers before,
                       Integers after, int64_t threads, ffi::AnyBuffer x,
                       ffi::AnyBuffer kernel, ffi::Result<ffi::AnyBuffer> y) {
  return Compute(Result::kOutput, device, strides, before, after, threads, x,
                 kernel, *y);
}

ffi::Error InputGradient(int32_t device, Integers strides, Integers before,
                         Integers after, int64_t threads, ffi::AnyBuffer y,
                         ffi::AnyBuffer kernel,
                         ffi::Result<ffi::AnyBuffer> x) {
  return Compute(Result::kInputGradient, device, strides, before, after,
                 threads, *x, kernel, y);
}

ffi::Error KernelGradient(int32_t device, Integers strides, Integers before,
                          Integers after, int64_t threads, ffi::AnyBuffer x,
                          ffi::AnyBuffer y,
                          ffi::Result<ffi::AnyBuffer> kernel) {
  return Compute(Result::kKernelGradient, device, strides, before, after,
                 threads, x, *kernel, y);
}

auto Binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::DeviceOrdinal>()
      .Attr<Integers>("strides")
      .Attr<Integers>("before")
      .Attr<Integers>("after")
      .Attr<int64_t>("threads")
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(meranet_convolution, Convolution, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(meranet_input_gradient, InputGradient, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(meranet_kernel_gradient, KernelGradient,
                              Binding());

// The version of the oneDNN that is loaded, such as 20603 for 2.6.3.
extern "C" int meranet_onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return version->major * 10000 + version->minor * 100 + version->patch;
}
