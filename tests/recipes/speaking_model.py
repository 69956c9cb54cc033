"""A tiny model that says whole sentences, for recipes from end to end."""

from __future__ import annotations

from pathlib import Path

EOS, EOS_BIAS, SENTENCE_BIAS = 2, 5.0, 2.2


def make_speaking_model(folder: Path) -> Path:
    """A random Llama that ends by itself after a few tokens, some of which are whole answers to the testbed's prompts.

    One feature of every embedding is constant, so that a row of the head can favor its token always.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from kilter.testbeds.instructions import generate
    from kilter.testbeds.plain_text import paragraphs

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    said = [one.demonstration for one in generate(60, 1)] + [one.text for one in paragraphs("train")]
    core.train_from_iterator(said, trainer)
    answers = {one.demonstration for split in ("train", "test") for one in generate(80, 2, split=split)}
    core.add_tokens(sorted(answers))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=1024, tie_word_embeddings=False, eos_token_id=EOS,
        pad_token_id=EOS, bos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in sorted(model.named_parameters()):
        if parameter.ndim == 2:
            scale = 0.25 if "lm_head" in name or "embed" in name else 0.1
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    model.model.embed_tokens.weight.data[:, 0] = 1.0
    model.lm_head.weight.data[:, 0] = 0.0
    model.lm_head.weight.data[600:, 0] = SENTENCE_BIAS / 2.5
    model.lm_head.weight.data[EOS, 0] = EOS_BIAS / 2.5
    model.generation_config.eos_token_id = EOS
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
