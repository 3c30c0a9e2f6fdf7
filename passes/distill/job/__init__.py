"""One distillation: its job folder, its progress, and the judgement of the student.

- ``build``: Write one job: the graph with its losses, and the samples with the teacher's answers.
- ``judge``: Judge a student by its answers on the validation set: the same losses in float64, without a
  trainer.
- ``progress``: Show a running trainer: a bar with the loss, images a second and the time left.
- ``run``: One distillation from student and teacher to a student that answers more like the teacher.
"""
