// The parts of TensorFlow Lite 2.14 that the sample in docs/native.md uses, declared for its library in tflite-runtime 2.14.0.
// Objects that are never read here are opaque, and larger than the real ones.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
union TfLitePtrUnion { float* f; char* raw; void* data; };
struct TfLiteIntArray { int size; int data[]; };
struct TfLiteQuantizationParams { float scale; int32_t zero_point; };
struct TfLiteTensor {
  int type;
  TfLitePtrUnion data;
  TfLiteIntArray* dims;
  TfLiteQuantizationParams params;
  int allocation_type;
  size_t bytes;
};

namespace tflite {
class ErrorReporter;
class OpResolver;
struct InterpreterOptions;
ErrorReporter* DefaultErrorReporter();
class Subgraph { public: TfLiteStatus AllocateTensors(); };
inline namespace impl {
class SignatureRunner {
 public:
  TfLiteTensor* input_tensor(const char* name);
  const TfLiteTensor* output_tensor(const char* name) const;
  TfLiteStatus ResizeInputTensor(const char* name, const std::vector<int>& size);
  TfLiteStatus AllocateTensors() { return subgraph_->AllocateTensors(); }
  TfLiteStatus Invoke();
 private:
  const void* definition_;
  Subgraph* subgraph_;
};
class Interpreter {
 public:
  ~Interpreter();
  TfLiteStatus AllocateTensors();
  SignatureRunner* GetSignatureRunner(const char* name);
};
class FlatBufferModel {
 public:
  static std::unique_ptr<FlatBufferModel> BuildFromFile(const char* path, ErrorReporter* = DefaultErrorReporter());
  ~FlatBufferModel();
};
class InterpreterBuilder {
 public:
  InterpreterBuilder(const FlatBufferModel&, const OpResolver&, const InterpreterOptions* = nullptr);
  ~InterpreterBuilder();
  TfLiteStatus operator()(std::unique_ptr<Interpreter>*);
 private:
  alignas(16) char storage_[4096];
};
}  // namespace impl
class OpResolver { public: virtual ~OpResolver(); };
namespace ops { namespace builtin {
class BuiltinOpResolver : public OpResolver {
 public:
  BuiltinOpResolver();
  ~BuiltinOpResolver() override;
 private:
  alignas(16) char storage_[4096];
};
}}  // namespace ops::builtin
}  // namespace tflite
